// Arguments of the addon's functions, read on the JavaScript thread; a wrong one is an INVALID_ARGUMENT.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "executor/failure.h"

namespace node_compute {

/// A string without NUL: C libraries would silently cut it there.
inline std::string to_text(const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw InvalidArgument(std::string(name) + " must be a string");
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) throw InvalidArgument(std::string(name) + " must not hold a NUL");
  return text;
}

inline std::vector<std::string> to_texts(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) throw InvalidArgument(std::string(name) + " must be an array");
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<std::string> texts;
  for (std::uint32_t i = 0; i < array.Length(); ++i) texts.push_back(to_text(array.Get(i), name));
  return texts;
}

/// A whole number from 0 to 2^53.
inline std::uint64_t to_size(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) throw InvalidArgument(std::string(name) + " must be a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= 9007199254740992.0) || number != std::floor(number)) {
    throw InvalidArgument(std::string(name) + " must be a whole number from 0 to 2^53");
  }
  return static_cast<std::uint64_t>(number);
}

inline unsigned to_flags(const Napi::Value& value, const char* name) {
  const std::uint64_t flags = to_size(value, name);
  if (flags > 0xffffffffU) throw InvalidArgument(std::string(name) + " must fit 32 bits");
  return static_cast<unsigned>(flags);
}

inline bool to_bool(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) throw InvalidArgument(std::string(name) + " must be true or false");
  return value.As<Napi::Boolean>().Value();
}

inline Napi::Object to_object(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) throw InvalidArgument(std::string(name) + " must be an object");
  return value.As<Napi::Object>();
}

}  // namespace node_compute
