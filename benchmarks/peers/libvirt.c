/*
 * C against libvirt: an overlay by qemu-img, define, start, and nothing between; see ../README.md.
 * Built by the harness: cc -O2 libvirt.c -lvirt -ljson-c -lpthread
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <json-c/json.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { MAX_INSTANCES = 256, BATCH = 20, CALLS_PER_BULK = 200, NAME = 64, PATH = 512 };

struct instance {
  char uuid[VIR_UUID_STRING_BUFLEN];
  char disk[PATH];
  char log[PATH];
  virDomainPtr domain;
  int started;
};

struct usage {
  double wall, cpu;
};

/* Options of the trial, read once. */
static const char *directory, *base, *xml;
static int count, warmup, concurrency;
static virConnectPtr connection;

static struct instance instances[MAX_INSTANCES];
static int known;
static json_object *samples;

static void end_all(void);

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, ": %s\n", virGetLastErrorMessage());
  end_all();
  exit(1);
}

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static double seconds_of(const struct rusage *usage) {
  return usage->ru_utime.tv_sec + usage->ru_stime.tv_sec + (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static struct usage usage_now(void) {
  struct rusage own, children;
  getrusage(RUSAGE_SELF, &own);
  getrusage(RUSAGE_CHILDREN, &children);
  return (struct usage){milliseconds() / 1e3, seconds_of(&own) + seconds_of(&children)};
}

/* A number of /proc/self/status, such as VmHWM in KiB. */
static long status_of(const char *field) {
  char line[256];
  long value = 0;
  FILE *file = fopen("/proc/self/status", "re");
  while (file && fgets(line, sizeof line, file)) {
    if (strncmp(line, field, strlen(field)) == 0) value = strtol(line + strlen(field) + 1, NULL, 10);
  }
  if (file) fclose(file);
  return value;
}

static void sample(const char *measure, double value) {
  json_object *list;
  if (!json_object_object_get_ex(samples, measure, &list)) {
    list = json_object_new_array();
    json_object_object_add(samples, measure, list);
  }
  json_object_array_add(list, json_object_new_double(value));
}

static void new_uuid(char *text) {
  unsigned char bytes[16];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) fail("getrandom");
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *text++ = '-';
    text += sprintf(text, "%02x", bytes[i]);
  }
}

static char *read_file(const char *path) {
  FILE *file = fopen(path, "re");
  if (!file) fail("%s: %s", path, strerror(errno));
  char *text = NULL;
  size_t size = 0;
  if (getdelim(&text, &size, '\0', file) < 0) fail("%s is empty", path);
  fclose(file);
  return text;
}

/* The document with its blanks filled in; to be freed. */
static char *fill(const struct instance *one) {
  char name[NAME];
  snprintf(name, sizeof name, "bench-%s", one->uuid);
  const char *const blanks[][2] = {
      {"@NAME@", name}, {"@UUID@", one->uuid}, {"@DISK@", one->disk}, {"@LOG@", one->log}};
  char *text = read_file(xml);
  char *filled = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&filled, &length);
  for (const char *at = text; *at;) {
    const char *value = NULL;
    for (size_t i = 0; i < sizeof blanks / sizeof *blanks && !value; ++i) {
      if (strncmp(at, blanks[i][0], strlen(blanks[i][0])) != 0) continue;
      value = blanks[i][1];
      at += strlen(blanks[i][0]);
    }
    if (value) fputs(value, out);
    else fputc(*at++, out);
  }
  fclose(out);
  free(text);
  return filled;
}

static void make_overlay(const char *path) {
  char *const words[] = {"qemu-img", "create", "-q", "-f", "qcow2", "-b", (char *)base, "-F", "raw", (char *)path, "1G", NULL};
  pid_t child;
  int result = 0;
  if (posix_spawnp(&child, words[0], NULL, NULL, words, environ) != 0 || waitpid(child, &result, 0) < 0 || result != 0) {
    fail("qemu-img create %s", path);
  }
}

static struct instance *start(void) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mutex);
  struct instance *one = &instances[known++];
  pthread_mutex_unlock(&mutex);
  char uuid[VIR_UUID_STRING_BUFLEN];
  new_uuid(uuid);
  *one = (struct instance){0};
  memcpy(one->uuid, uuid, sizeof uuid);
  snprintf(one->disk, sizeof one->disk, "%s/%s.qcow2", directory, uuid);
  snprintf(one->log, sizeof one->log, "%s/%s.log", directory, uuid);
  make_overlay(one->disk);
  char *document = fill(one);
  one->domain = virDomainDefineXML(connection, document);
  free(document);
  if (!one->domain) fail("virDomainDefineXML");
  if (virDomainCreate(one->domain) < 0) fail("virDomainCreate");
  one->started = 1;
  return one;
}

static void end(struct instance *one) {
  if (one->started) virDomainDestroy(one->domain);
  if (one->domain) {
    virDomainUndefine(one->domain);
    virDomainFree(one->domain);
  }
  unlink(one->disk);
  unlink(one->log);
  *one = (struct instance){0};
}

static void end_all(void) {
  while (known > 0) end(&instances[--known]);
}

static double burst_begin;
static int asked;

static void *burst_worker(void *unused) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  for (;;) {
    pthread_mutex_lock(&mutex);
    const int more = asked < count ? ++asked : 0;
    pthread_mutex_unlock(&mutex);
    if (!more) return unused;
    start();
    const double took = milliseconds() - burst_begin;
    pthread_mutex_lock(&mutex);
    sample("launch", took);
    pthread_mutex_unlock(&mutex);
  }
}

static double launch(void) {
  for (int i = 0; i < warmup; ++i) {
    start();
    end_all();
  }
  burst_begin = milliseconds();
  if (concurrency > 1) {
    pthread_t workers[64];
    const int lanes = concurrency < 64 ? concurrency : 64;
    for (int i = 0; i < lanes; ++i) pthread_create(&workers[i], NULL, burst_worker, NULL);
    for (int i = 0; i < lanes; ++i) pthread_join(workers[i], NULL);
    return (milliseconds() - burst_begin) / 1e3;
  }
  double wall = 0;
  for (int i = 0; i < count; ++i) {
    const double begin = milliseconds();
    start();
    const double took = milliseconds() - begin;
    sample("launch", took);
    wall += took / 1e3;
    end_all();
  }
  return wall;
}

/* The process that has these words in its arguments; 0 where there is none. */
static pid_t process_of(const char *uuid) {
  char wanted[NAME], path[PATH], arguments[65536];
  const int length = snprintf(wanted, sizeof wanted, "-uuid%c%s", 0, uuid) + 1;
  pid_t found = 0;
  DIR *proc = opendir("/proc");
  for (struct dirent *entry; !found && (entry = readdir(proc));) {
    const pid_t pid = atoi(entry->d_name);
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (!file) continue;
    const size_t size = fread(arguments, 1, sizeof arguments, file);
    fclose(file);
    if (memmem(arguments, size, wanted, length)) found = pid;
  }
  closedir(proc);
  return found;
}

/* Ended, or waiting to be reaped only. */
static int is_gone(pid_t pid) {
  char path[PATH], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "re");
  if (!file) return 1;
  const char *read = fgets(line, sizeof line, file);
  fclose(file);
  const char *name_end = read ? strrchr(line, ')') : NULL;
  return !name_end || name_end[2] == 'Z';
}

struct watch {
  pid_t pid;
  double gone;
};

static void *watch_process(void *argument) {
  struct watch *watch = argument;
  while (!is_gone(watch->pid)) usleep(1000);
  watch->gone = milliseconds();
  return NULL;
}

static double terminate(void) {
  double begun = milliseconds();
  for (int i = 0; i < warmup + count; ++i) {
    if (i == warmup) begun = milliseconds();
    struct watch watch = {.pid = process_of(start()->uuid)};
    pthread_t watcher;
    const double begin = milliseconds();
    pthread_create(&watcher, NULL, watch_process, &watch);
    end_all();
    const double took = milliseconds() - begin;
    pthread_join(watcher, NULL);
    if (i < warmup) continue;
    sample("terminate", took);
    sample("gone", watch.gone - begin);
  }
  return (milliseconds() - begun) / 1e3;
}

static double reboot(void) {
  const virDomainPtr domain = start()->domain;
  double begun = milliseconds();
  for (int i = 0; i < warmup + count; ++i) {
    if (i == warmup) begun = milliseconds();
    const double begin = milliseconds();
    if (virDomainDestroy(domain) < 0 || virDomainCreate(domain) < 0) fail("hard reboot");
    if (i >= warmup) sample("reboot", milliseconds() - begin);
  }
  return (milliseconds() - begun) / 1e3;
}

static double save(void) {
  const virDomainPtr domain = start()->domain;
  double begun = milliseconds();
  for (int i = 0; i < warmup + count; ++i) {
    if (i == warmup) begun = milliseconds();
    const double begin = milliseconds();
    if (virDomainManagedSave(domain, 0) < 0) fail("suspend");
    const double saved = milliseconds();
    if (virDomainCreate(domain) < 0) fail("resume");
    if (i < warmup) continue;
    sample("suspend", saved - begin);
    sample("resume", milliseconds() - saved);
  }
  return (milliseconds() - begun) / 1e3;
}

static double idle(void) {
  sleep(1);
  sample("idle", status_of("VmRSS:") / 1024.0);
  return 1;
}

/* The state of every domain; gives how many there are. */
static int states(void) {
  virDomainPtr *domains = NULL;
  const int found = virConnectListAllDomains(connection, &domains, 0);
  if (found < 0) fail("virConnectListAllDomains");
  for (int i = 0; i < found; ++i) {
    int state;
    if (virDomainGetState(domains[i], &state, NULL, 0) < 0) fail("virDomainGetState");
    virDomainFree(domains[i]);
  }
  free(domains);
  return found;
}

static double call(void) {
  virDomainInfo info;
  const virDomainPtr domain = virDomainLookupByName(connection, "test");
  if (!domain) fail("virDomainLookupByName");
  for (int i = 0; i < warmup; ++i) virDomainGetInfo(domain, &info);
  const double begun = milliseconds();
  for (int i = 0; i < count; ++i) {
    const double begin = milliseconds();
    if (virDomainGetInfo(domain, &info) < 0) fail("virDomainGetInfo");
    sample("call", (milliseconds() - begin) * 1e3);
  }
  /* One thread has nothing to gain from many at once; the same number for the same column. */
  for (int i = 0; i < count; i += BATCH) {
    const double begin = milliseconds();
    for (int k = 0; k < BATCH; ++k) virDomainGetInfo(domain, &info);
    sample("together", (milliseconds() - begin) * 1e3 / BATCH);
  }
  for (int i = 0; i < count; i += CALLS_PER_BULK) {
    const double begin = milliseconds();
    const int domains = states();
    sample("bulk", (milliseconds() - begin) * 1e3 / domains);
  }
  virDomainFree(domain);
  return (milliseconds() - begun) / 1e3;
}

/* State, CPU time and memory of every domain, by the cheapest call that libvirt has for them. */
static int ask_usage(void) {
  virDomainPtr *domains = NULL;
  const int found = virConnectListAllDomains(connection, &domains, 0);
  if (found < 0) fail("virConnectListAllDomains");
  for (int i = 0; i < found; ++i) {
    virDomainInfo info;
    if (virDomainGetInfo(domains[i], &info) < 0) fail("virDomainGetInfo");
    virDomainFree(domains[i]);
  }
  free(domains);
  return found;
}

/* All groups that a report can have, by libvirt's bulk call. */
static int ask_usage_all(void) {
  const unsigned groups = VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON |
                          VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK;
  virDomainStatsRecordPtr *records = NULL;
  const int found = virConnectGetAllDomainStats(connection, groups, &records, 0);
  if (found < 0) fail("virConnectGetAllDomainStats");
  virDomainStatsRecordListFree(records);
  return found;
}

static int domains_expected;

static double sampled(int (*ask)(void)) {
  double begun = milliseconds();
  for (int i = 0; i < warmup + count; ++i) {
    if (i == warmup) begun = milliseconds();
    const double begin = milliseconds();
    const int found = ask();
    if (found < domains_expected) fail("%d domains", found);
    if (i >= warmup) sample("usage", milliseconds() - begin);
  }
  return (milliseconds() - begun) / 1e3;
}

static double usage_work(void) {
  return sampled(ask_usage);
}

static double usage_all_work(void) {
  return sampled(ask_usage_all);
}

/* The last event of the instance, and when it came. */
static struct {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int event;
  double at;
} arrived = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, -1, 0};

static int note_event(virConnectPtr from, virDomainPtr domain, int event, int detail, void *unused) {
  (void)from, (void)domain, (void)detail, (void)unused;
  pthread_mutex_lock(&arrived.mutex);
  arrived.event = event;
  arrived.at = milliseconds();
  pthread_cond_signal(&arrived.changed);
  pthread_mutex_unlock(&arrived.mutex);
  return 0;
}

static void *run_event_loop(void *unused) {
  while (virEventRunDefaultImpl() == 0) continue;
  return unused;
}

/* From the call to the callback, which the thread of the event loop runs. */
static double latency(int (*action)(virDomainPtr), virDomainPtr domain, int wanted) {
  const double begin = milliseconds();
  if (action(domain) < 0) fail("suspend or resume");
  pthread_mutex_lock(&arrived.mutex);
  while (arrived.event != wanted) pthread_cond_wait(&arrived.changed, &arrived.mutex);
  const double took = arrived.at - begin;
  pthread_mutex_unlock(&arrived.mutex);
  return took;
}

static double events(void) {
  const virDomainPtr domain = start()->domain;
  const int callback = virConnectDomainEventRegisterAny(connection, domain, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                                        VIR_DOMAIN_EVENT_CALLBACK(note_event), NULL, NULL);
  if (callback < 0) fail("virConnectDomainEventRegisterAny");
  double begun = milliseconds();
  for (int i = 0; i < warmup + count; ++i) {
    if (i == warmup) begun = milliseconds();
    const double suspended = latency(virDomainSuspend, domain, VIR_DOMAIN_EVENT_SUSPENDED);
    const double resumed = latency(virDomainResume, domain, VIR_DOMAIN_EVENT_RESUMED);
    if (i < warmup) continue;
    sample("suspend", suspended);
    sample("resume", resumed);
  }
  const double seconds = (milliseconds() - begun) / 1e3;
  virConnectDomainEventDeregisterAny(connection, callback);
  return seconds;
}

static const char *text_option(json_object *options, const char *name) {
  json_object *value;
  return json_object_object_get_ex(options, name, &value) ? json_object_get_string(value) : NULL;
}

static int number_option(json_object *options, const char *name, int otherwise) {
  json_object *value;
  return json_object_object_get_ex(options, name, &value) ? json_object_get_int(value) : otherwise;
}

static void quiet(void *unused, virErrorPtr error) {
  (void)unused;
  (void)error;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    double (*run)(void);
  } works[] = {{"launch", launch}, {"terminate", terminate}, {"reboot", reboot}, {"save", save}, {"idle", idle}, {"call", call}, {"events", events}, {"usage", usage_work}, {"usageAll", usage_all_work}};
  json_object *options = argc == 2 ? json_tokener_parse(argv[1]) : NULL;
  const char *work = options ? text_option(options, "work") : NULL;
  double (*run)(void) = NULL;
  for (size_t i = 0; work && i < sizeof works / sizeof *works; ++i) {
    if (strcmp(works[i].name, work) == 0) run = works[i].run;
  }
  if (!run) {
    fprintf(stderr, "one argument, a JSON object with the work: launch, terminate, reboot, save, idle, call, events, usage or usageAll\n");
    return 1;
  }
  directory = text_option(options, "directory");
  base = text_option(options, "base");
  xml = text_option(options, "xml");
  count = number_option(options, "count", 1);
  warmup = number_option(options, "warmup", 0);
  domains_expected = number_option(options, "domains", 0);
  concurrency = number_option(options, "concurrency", 1);
  if (count > MAX_INSTANCES && run == launch && concurrency > 1) {
    fprintf(stderr, "at most %d at once\n", MAX_INSTANCES);
    return 1;
  }
  samples = json_object_new_object();
  virSetErrorFunc(NULL, quiet);
  /* A driver in the process needs the loop too. */
  if (run == events || strstr(text_option(options, "uri"), ":///embed")) {
    pthread_t loop;
    virEventRegisterDefaultImpl();
    pthread_create(&loop, NULL, run_event_loop, NULL);
  }
  connection = virConnectOpen(text_option(options, "uri"));
  if (!connection) fail("virConnectOpen");

  const struct usage before = usage_now();
  const double seconds = run();
  const struct usage after = usage_now();
  json_object *answer = json_object_new_object();
  json_object_object_add(answer, "samples", samples);
  json_object_object_add(answer, "seconds", json_object_new_double(seconds));
  json_object_object_add(answer, "cpuSeconds", json_object_new_double(after.cpu - before.cpu));
  json_object_object_add(answer, "peakRssMib", json_object_new_double(status_of("VmHWM:") / 1024.0));
  json_object_object_add(answer, "threads", json_object_new_int(status_of("Threads:")));
  end_all();
  virConnectClose(connection);
  printf("%s\n", json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN));
  json_object_put(answer);
  json_object_put(options);
  return 0;
}
