/*
 * The limit of a conversion: every compressed cluster of a qcow2 image, decompressed by all cores into the same few pages,
 * nothing checked and nothing written; see ../README.md.
 * Built by the harness: cc -O2 decompress.c -ljson-c -ldeflate -lzstd -lpthread
 */
#define _GNU_SOURCE
#include <endian.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

enum { AT_ONCE = 16, MAX_THREADS = 256 };
static const uint64_t OFFSET_MASK = 0x00fffffffffffe00;

static const unsigned char *file;
static uint64_t *clusters; /* L2 entries of compressed clusters */
static size_t count_of_clusters;
static unsigned cluster_bits;
static int zstd;
static atomic_size_t next;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static double cpu_seconds(const struct rusage *usage) {
  return usage->ru_utime.tv_sec + usage->ru_stime.tv_sec + (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static uint64_t be64(uint64_t offset) {
  uint64_t value;
  memcpy(&value, file + offset, sizeof value);
  return be64toh(value);
}

static uint32_t be32(uint64_t offset) {
  uint32_t value;
  memcpy(&value, file + offset, sizeof value);
  return be32toh(value);
}

/* Trusts the image: the harness made it. */
static void find_clusters(void) {
  const uint64_t l1 = be64(40);
  const uint32_t tables = be32(36);
  cluster_bits = be32(20);
  zstd = be32(4) >= 3 && (be64(72) & 8) != 0 && file[104] == 1;
  const uint64_t entries = 1ull << (cluster_bits - 3);
  clusters = malloc(tables * entries * sizeof *clusters);
  if (!clusters) fail("malloc");
  for (uint32_t table = 0; table < tables; ++table) {
    const uint64_t l2 = be64(l1 + 8ull * table) & OFFSET_MASK;
    for (uint64_t entry = 0; l2 != 0 && entry < entries; ++entry) {
      const uint64_t value = be64(l2 + 8 * entry);
      if (value >> 62 & 1) clusters[count_of_clusters++] = value;
    }
  }
}

static void *decompress(void *unused) {
  (void)unused;
  const size_t size = 1ull << cluster_bits;
  void *const target = malloc(size);
  struct libdeflate_decompressor *const inflater = libdeflate_alloc_decompressor();
  ZSTD_DCtx *const context = ZSTD_createDCtx();
  if (!target || !inflater || !context) fail("malloc");
  const unsigned sector_bits = 62 - (cluster_bits - 8);
  for (size_t first; (first = atomic_fetch_add(&next, AT_ONCE)) < count_of_clusters;) {
    for (size_t i = first; i < first + AT_ONCE && i < count_of_clusters; ++i) {
      const uint64_t offset = clusters[i] & ((1ull << sector_bits) - 1);
      const uint64_t sectors = (clusters[i] & ~(3ull << 62)) >> sector_bits;
      const uint64_t length = (sectors + 1) * 512 - (offset & 511);
      if (zstd) {
        ZSTD_inBuffer in = {file + offset, length, 0};
        ZSTD_outBuffer out = {target, size, 0};
        ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
        if (ZSTD_isError(ZSTD_decompressStream(context, &out, &in)) || out.pos != size) fail("zstd");
      } else {
        size_t in, out;
        if (libdeflate_deflate_decompress_ex(inflater, file + offset, length, target, size, &in, &out)) fail("deflate");
      }
    }
  }
  ZSTD_freeDCtx(context);
  libdeflate_free_decompressor(inflater);
  free(target);
  return NULL;
}

static void run(long threads) {
  pthread_t started[MAX_THREADS];
  atomic_store(&next, 0);
  for (long i = 0; i < threads; ++i)
    if (pthread_create(&started[i], NULL, decompress, NULL) != 0) fail("pthread_create");
  for (long i = 0; i < threads; ++i) pthread_join(started[i], NULL);
}

static int number(json_object *options, const char *key) {
  return json_object_get_int(json_object_object_get(options, key));
}

int main(int argc, char **argv) {
  json_object *const options = argc == 2 ? json_tokener_parse(argv[1]) : NULL;
  if (!options) fail("usage: decompress JSON");
  const int fd = open(json_object_get_string(json_object_object_get(options, "image")), O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) fail("image");
  file = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
  if (file == MAP_FAILED) fail("mmap");
  find_clusters();

  const int count = number(options, "count"), warmup = number(options, "warmup");
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  const long threads = cores < MAX_THREADS ? cores : MAX_THREADS;
  json_object *const samples = json_object_new_array();
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  double total = 0;
  for (int i = 0; i < warmup + count; ++i) {
    if (i == warmup) getrusage(RUSAGE_SELF, &before);
    const double begin = seconds();
    run(threads);
    const double took = seconds() - begin;
    if (i < warmup) continue;
    total += took;
    json_object_array_add(samples, json_object_new_double(took * 1000));
  }
  getrusage(RUSAGE_SELF, &after);

  json_object *const answer = json_object_new_object(), *const measures = json_object_new_object();
  json_object_object_add(measures, "decompress", samples);
  json_object_object_add(answer, "samples", measures);
  json_object_object_add(answer, "seconds", json_object_new_double(total));
  json_object_object_add(answer, "cpuSeconds", json_object_new_double(cpu_seconds(&after) - cpu_seconds(&before)));
  json_object_object_add(answer, "peakRssMib", json_object_new_double(after.ru_maxrss / 1024.0));
  json_object_object_add(answer, "threads", json_object_new_int64(threads + 1));
  puts(json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN));
  return 0;
}
