# Prints the BOOTED line. Input: the bytes of the SMBIOS table, each a decimal number on a line of its own.

function json(text,    out, i, c) {
  out = ""
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (c == "\"" || c == "\\") out = out "\\" c
    else if (c in control) out = out sprintf("\\u%04x", control[c])
    else out = out c
  }
  return "\"" out "\""
}

function read(path,    line) {
  line = ""
  getline line < path
  close(path)
  return line
}

function word(at) { return byte[at] + 256 * byte[at + 1] }

# Sets name (the OEM string "name=...") and memory (the sum of the memory devices, in MiB).
function smbios(    at, kind, end, text, size) {
  at = 0
  while (at + 4 < bytes) {
    kind = byte[at]
    if (kind == 17) {
      size = word(at + 12)
      if (size == 32767 && byte[at + 1] >= 32) memory += word(at + 28) + 65536 * word(at + 30)
      else if (size >= 32768) memory += (size - 32768) / 1024
      else memory += size
    }
    end = at + byte[at + 1]
    if (byte[end] == 0) end++ # no strings: two zeros close the structure
    while (end < bytes && byte[end] != 0) {
      text = ""
      for (; byte[end] != 0; end++) text = text sprintf("%c", byte[end])
      if (kind == 11 && name == "" && substr(text, 1, 5) == "name=") name = substr(text, 6)
      end++
    }
    at = end + 1
    if (kind == 127) break
  }
}

function count_cpus(list,    part, range, n, i, total) {
  n = split(list, part, ",")
  for (i = 1; i <= n; i++) total += split(part[i], range, "-") == 2 ? range[2] - range[1] + 1 : 1
  return total
}

# Of a disk that init found something on: ,"content":{...}
function content(disk,    path, type, label, kib) {
  path = "/run/content-" disk
  if ((getline type < path) <= 0) return ""
  getline label < path
  getline kib < path
  close(path)
  sub(/ +$/, "", label) # FAT pads with blanks
  return sprintf(",\"content\":{\"type\":%s,\"label\":%s,\"usableBytes\":%.0f}", json(type), json(label), kib * 1024)
}

function disk_list(list,    part, n, i, path, size, serial, out) {
  n = split(list, part, " ")
  for (i = 1; i <= n; i++) {
    path = "/sys/block/" part[i]
    size = read(path "/size") * 512
    serial = read(path "/serial")
    if (serial == "") serial = read("/run/serial-" part[i])
    gsub(/^ +| +$/, "", serial) # ATA pads with blanks
    if (part[i] !~ /^sr/ && !rootBytes) rootBytes = size
    out = out (out == "" ? "" : ",") sprintf("{\"name\":%s,\"bytes\":%.0f,\"serial\":%s%s}", json(part[i]), size, json(serial), content(part[i]))
  }
  return out
}

# Of a config drive that init mounted: ,"configDrive":{...}
function config_drive(    path, uuid, digest) {
  path = "/run/config-drive"
  if ((getline uuid < path) <= 0) return ""
  getline digest < path
  close(path)
  return sprintf(",\"configDrive\":{\"uuid\":%s,\"userDataSha256\":%s}", json(uuid), json(digest))
}

function mac_list(list,    part, n, i, order, mac, last, out) {
  n = split(list, part, " ")
  for (i = 1; i <= n; i++) {
    order = read("/sys/class/net/" part[i] "/ifindex") + 0
    mac[order] = read("/sys/class/net/" part[i] "/address")
    if (order > last) last = order
  }
  for (i = 1; i <= last; i++) if (i in mac) out = out (out == "" ? "" : ",") json(mac[i])
  return out
}

BEGIN {
  for (i = 1; i < 32; i++) control[sprintf("%c", i)] = i
  control[sprintf("%c", 127)] = 127
}

{ byte[bytes++] = $1 + 0 }

END {
  smbios()
  if (name == "") name = "guest"
  if (!memory) {
    split(read("/proc/meminfo"), total, " ")
    memory = int(total[2] / 1024)
  }
  found = disk_list(disks)
  printf "\nNODE-COMPUTE-GUEST {\"event\":\"BOOTED\",\"name\":%s,\"uuid\":%s,\"rootDiskBytes\":%.0f,\"macs\":[%s],\"memoryMb\":%d,\"vcpus\":%d,\"disks\":[%s]%s,\"kernel\":%s}\n", \
    json(name), json(read("/sys/class/dmi/id/product_uuid")), rootBytes, mac_list(interfaces), memory, \
    count_cpus(read("/sys/devices/system/cpu/online")), found, config_drive(), json(read("/proc/sys/kernel/osrelease"))
}
