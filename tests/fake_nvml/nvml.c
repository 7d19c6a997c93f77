/* A libnvidia-ml.so.1 whose GPUs stand in a text file (FAKE_NVML_SCRIPT), read again at every call.
 *
 * It behaves like the driver where that matters: the list of GPUs is fixed when NVML is opened (a GPU that leaves the
 * file later is lost, one that comes is not seen), versioned structures are checked, and calls that a card does not
 * support say so. The file, one word and its values a line:
 *
 *   fail FUNCTION CODE | hang FUNCTION | crash FUNCTION | say FUNCTION (prints a line to standard output)
 *                                                         for all GPUs when above the first `gpu`, else for that one
 *   gpu UUID                                              begins a GPU; what follows is its
 *   name TEXT | bus DOMAIN BUS DEVICE | memory TOTAL USED | utilization % | temperature C | power MILLIWATT | ecc N
 *   lost | xid NUMBER SEQUENCE                            each sequence is delivered once
 *   compute PID BYTES | graphics PID BYTES                -1 bytes: not told
 *   mig 0|1 | device UUID INSTANCE                        begins a MIG device of the GPU: name, memory, compute
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    TIMEOUT = 10, GPU_IS_LOST = 15, ARGUMENT_VERSION_MISMATCH = 25, UNKNOWN = 999
};

enum { MAX_GPUS = 32, MAX_PARTS = 8, MAX_PROCESSES = 64, MAX_RULES = 64, MAX_XIDS = 32, TEXT = 96 };

typedef unsigned long long u64;

typedef struct { unsigned pid; u64 bytes; int graphics; } Process;
typedef struct { char kind; char function[TEXT]; int code; } Rule;
typedef struct { unsigned number; int sequence; } Xid;

typedef struct Device {
    char uuid[TEXT], name[TEXT];
    unsigned domain, bus, slot, instance;
    u64 total, used;
    int has_memory, utilization, temperature, power, mig, lost;
    long long ecc;
    Process processes[MAX_PROCESSES];
    int n_processes;
    Rule rules[MAX_RULES];
    int n_rules;
    Xid xids[MAX_XIDS];
    int n_xids;
    struct Device *parts;
    int n_parts;
} Device;

/* What a handle points to: the identity only, so that it outlives each reading of the file. */
typedef struct Slot { char uuid[TEXT]; struct Slot *parent; int registered, seen; } Slot;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Device gpus[MAX_GPUS], parts[MAX_GPUS][MAX_PARTS];
static int n_gpus, opened;
static Rule rules[MAX_RULES];
static int n_rules;
static Slot slots[MAX_GPUS], part_slots[MAX_GPUS * MAX_PARTS];
static int n_slots, n_part_slots;

static void copy(char *to, const char *from) { snprintf(to, TEXT, "%.*s", TEXT - 1, from); }

static void clear(Device *device) {
    memset(device, 0, sizeof *device);
    device->utilization = device->temperature = device->power = device->mig = -1;
    device->ecc = -1;
}

static void read_script(void) {
    const char *path = getenv("FAKE_NVML_SCRIPT");
    FILE *file = path ? fopen(path, "r") : NULL;
    Device *device = NULL, *gpu = NULL;
    char line[512];
    n_gpus = n_rules = 0;
    while (file && fgets(line, sizeof line, file)) {
        char word[32] = "", text[TEXT] = "";
        int at = 0;
        long long a = 0, b = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, " %31s %n", word, &at) != 1) continue;
        const char *rest = line + at;
        sscanf(rest, "%95s", text);
        if (!strcmp(word, "fail") || !strcmp(word, "hang") || !strcmp(word, "crash") ||
            !strcmp(word, "say")) {
            int *n = device ? &device->n_rules : &n_rules;
            Rule *rule = (device ? device->rules : rules) + *n;
            if (*n == MAX_RULES) continue;
            rule->kind = word[0];
            rule->code = UNKNOWN;
            sscanf(rest, "%95s %d", rule->function, &rule->code);
            ++*n;
        } else if (!strcmp(word, "gpu") && n_gpus < MAX_GPUS) {
            gpu = device = &gpus[n_gpus];
            clear(device);
            device->parts = parts[n_gpus++];
            copy(device->uuid, text);
        } else if (!device) {
            continue;
        } else if (!strcmp(word, "device") && gpu->n_parts < MAX_PARTS) {
            device = &gpu->parts[gpu->n_parts++];
            clear(device);
            sscanf(rest, "%95s %u", device->uuid, &device->instance);
        } else if (!strcmp(word, "name")) {
            copy(device->name, rest);
        } else if (!strcmp(word, "bus")) {
            sscanf(rest, "%u %u %u", &device->domain, &device->bus, &device->slot);
        } else if (!strcmp(word, "memory")) {
            device->has_memory = sscanf(rest, "%llu %llu", &device->total, &device->used) == 2;
        } else if (!strcmp(word, "utilization")) {
            device->utilization = atoi(rest);
        } else if (!strcmp(word, "temperature")) {
            device->temperature = atoi(rest);
        } else if (!strcmp(word, "power")) {
            device->power = atoi(rest);
        } else if (!strcmp(word, "ecc")) {
            device->ecc = atoll(rest);
        } else if (!strcmp(word, "mig")) {
            device->mig = atoi(rest);
        } else if (!strcmp(word, "lost")) {
            device->lost = 1;
        } else if (!strcmp(word, "xid") && device->n_xids < MAX_XIDS) {
            Xid *xid = &device->xids[device->n_xids++];
            sscanf(rest, "%u %d", &xid->number, &xid->sequence);
        } else if ((!strcmp(word, "compute") || !strcmp(word, "graphics")) && device->n_processes < MAX_PROCESSES) {
            Process *process = &device->processes[device->n_processes++];
            sscanf(rest, "%lld %lld", &a, &b);
            *process = (Process){(unsigned)a, (u64)b, word[0] == 'g'};
        }
    }
    if (file) fclose(file);
}

/* 0: go on · -1: hang · else what to return. */
static int rule_for(const Rule *list, int n, const char *function) {
    for (int i = 0; i < n; i++) {
        if (strcmp(list[i].function, function)) continue;
        if (list[i].kind == 'c') abort();
        if (list[i].kind == 's') {
            puts("a word of the driver");
            fflush(stdout);
            continue;
        }
        return list[i].kind == 'h' ? -1 : list[i].code;
    }
    return 0;
}

static Device *find(const Slot *slot) {
    for (int i = 0; slot && i < n_gpus; i++) {
        if (!strcmp(gpus[i].uuid, slot->uuid)) return &gpus[i];
        for (int j = 0; slot->parent && j < gpus[i].n_parts; j++)
            if (!strcmp(gpus[i].parts[j].uuid, slot->uuid)) return &gpus[i].parts[j];
    }
    return NULL;
}

/* So that a test can wait for it: a file beside the script. */
static void note_hang(void) {
    char path[4096];
    const char *script = getenv("FAKE_NVML_SCRIPT");
    snprintf(path, sizeof path, "%s.hangs", script ? script : "");
    FILE *file = fopen(path, "w");
    if (file) fclose(file);
}

/* Begin a call: read the file, obey its rules. `slot` is NULL for calls that name no device. */
static int enter(const char *function, const Slot *slot, Device **device) {
    for (;;) {
        int code;
        read_script();
        code = rule_for(rules, n_rules, function);
        if (!code && slot) {
            *device = find(slot);
            if (*device) code = rule_for((*device)->rules, (*device)->n_rules, function);
        }
        if (code > 0) return code;
        if (code == 0) break;
        note_hang();
        usleep(2000);
    }
    if (!opened && strncmp(function, "nvmlInit", 8)) return UNINITIALIZED;
    if (slot && (!*device || (*device)->lost)) return GPU_IS_LOST;
    return SUCCESS;
}

#define CALL(name, slot)                                                                                               \
    Device *device = NULL;                                                                                             \
    int code;                                                                                                          \
    pthread_mutex_lock(&lock);                                                                                         \
    code = enter(name, slot, &device);                                                                                 \
    if (code != SUCCESS) return leave(code);

static int leave(int code) {
    pthread_mutex_unlock(&lock);
    return code;
}

static int put_text(char *to, unsigned size, const char *text) {
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

static int put_number(int *to, int value) {
    if (value < 0) return NOT_SUPPORTED;
    *to = value;
    return SUCCESS;
}

/* --- the library --- */

static int open_library(const char *function) {
    CALL(function, NULL)
    if (opened++ == 0) {
        n_slots = n_gpus;
        for (int i = 0; i < n_gpus; i++) {
            memset(&slots[i], 0, sizeof slots[i]);
            copy(slots[i].uuid, gpus[i].uuid);
        }
    }
    return leave(SUCCESS);
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return open_library("nvmlInitWithFlags"); }
int nvmlInit_v2(void) { return open_library("nvmlInit_v2"); }

int nvmlShutdown(void) {
    CALL("nvmlShutdown", NULL)
    opened--;
    return leave(SUCCESS);
}

const char *nvmlErrorString(int code) {
    static char text[32];
    snprintf(text, sizeof text, "fake NVML error %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    CALL("nvmlSystemGetDriverVersion", NULL)
    return leave(put_text(version, size, "580.00.fake"));
}

/* --- finding GPUs --- */

int nvmlDeviceGetCount_v2(unsigned *count) {
    CALL("nvmlDeviceGetCount_v2", NULL)
    *count = (unsigned)n_slots;
    return leave(SUCCESS);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Slot **handle) {
    CALL("nvmlDeviceGetHandleByIndex_v2", NULL)
    if (index >= (unsigned)n_slots) return leave(INVALID_ARGUMENT);
    device = find(&slots[index]);
    code = device ? rule_for(device->rules, device->n_rules, "nvmlDeviceGetHandleByIndex_v2") : SUCCESS;
    *handle = &slots[index];
    return leave(code);
}

int nvmlDeviceGetUUID(Slot *slot, char *uuid, unsigned size) {
    CALL("nvmlDeviceGetUUID", slot)
    return leave(put_text(uuid, size, device->uuid));
}

int nvmlDeviceGetName(Slot *slot, char *name, unsigned size) {
    CALL("nvmlDeviceGetName", slot)
    return leave(put_text(name, size, device->name));
}

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, pci_device, pci_subsystem;
    char bus_id[32];
} Pci;

int nvmlDeviceGetPciInfo_v3(Slot *slot, Pci *pci) {
    CALL("nvmlDeviceGetPciInfo_v3", slot)
    memset(pci, 0, sizeof *pci);
    pci->domain = device->domain;
    pci->bus = device->bus;
    pci->device = device->slot;
    snprintf(pci->bus_id, sizeof pci->bus_id, "%08X:%02X:%02X.0", device->domain, device->bus, device->slot);
    return leave(SUCCESS);
}

/* --- what a GPU does --- */

typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned version; u64 total, reserved, free, used; } Memory2;

int nvmlDeviceGetMemoryInfo(Slot *slot, Memory *memory) {
    CALL("nvmlDeviceGetMemoryInfo", slot)
    if (!device->has_memory) return leave(NOT_SUPPORTED);
    *memory = (Memory){device->total, device->total - device->used, device->used};
    return leave(SUCCESS);
}

int nvmlDeviceGetMemoryInfo_v2(Slot *slot, Memory2 *memory) {
    CALL("nvmlDeviceGetMemoryInfo_v2", slot)
    if (memory->version != (sizeof(Memory2) | 2u << 24)) return leave(ARGUMENT_VERSION_MISMATCH);
    if (!device->has_memory) return leave(NOT_SUPPORTED);
    *memory = (Memory2){memory->version, device->total, 0, device->total - device->used, device->used};
    return leave(SUCCESS);
}

int nvmlDeviceGetUtilizationRates(Slot *slot, int *rates) {
    CALL("nvmlDeviceGetUtilizationRates", slot)
    rates[1] = 0;
    return leave(put_number(rates, device->utilization));
}

int nvmlDeviceGetTemperature(Slot *slot, unsigned sensor, int *temperature) {
    CALL("nvmlDeviceGetTemperature", slot)
    return leave(sensor ? INVALID_ARGUMENT : put_number(temperature, device->temperature));
}

typedef struct { unsigned version, sensor; int temperature; } Temperature;

int nvmlDeviceGetTemperatureV(Slot *slot, Temperature *temperature) {
    CALL("nvmlDeviceGetTemperatureV", slot)
    if (temperature->version != (sizeof(Temperature) | 1u << 24)) return leave(ARGUMENT_VERSION_MISMATCH);
    return leave(put_number(&temperature->temperature, device->temperature));
}

int nvmlDeviceGetPowerUsage(Slot *slot, int *milliwatt) {
    CALL("nvmlDeviceGetPowerUsage", slot)
    return leave(put_number(milliwatt, device->power));
}

int nvmlDeviceGetTotalEccErrors(Slot *slot, unsigned type, unsigned counter, u64 *count) {
    CALL("nvmlDeviceGetTotalEccErrors", slot)
    if (type != 1 || counter != 0) return leave(INVALID_ARGUMENT);
    if (device->ecc < 0) return leave(NOT_SUPPORTED);
    *count = (u64)device->ecc;
    return leave(SUCCESS);
}

/* --- processes --- */

typedef struct { unsigned pid; u64 used; unsigned instance, compute; } ProcessInfo;

static int list(const char *function, Slot *slot, int graphics, unsigned *count, ProcessInfo *infos) {
    CALL(function, slot)
    unsigned n = 0;
    for (int i = 0; i < device->n_processes; i++) {
        const Process *process = &device->processes[i];
        if (process->graphics != graphics) continue;
        if (infos && n < *count) infos[n] = (ProcessInfo){process->pid, process->bytes, ~0u, ~0u};
        n++;
    }
    code = n > *count ? INSUFFICIENT_SIZE : SUCCESS;
    *count = n;
    return leave(code);
}

#define LIST(name, graphics)                                                                                           \
    int name(Slot *slot, unsigned *count, ProcessInfo *infos) { return list(#name, slot, graphics, count, infos); }

LIST(nvmlDeviceGetComputeRunningProcesses_v2, 0)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, 0)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, 1)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, 1)

/* --- MIG --- */

int nvmlDeviceGetMigMode(Slot *slot, int *current, int *pending) {
    CALL("nvmlDeviceGetMigMode", slot)
    *pending = device->mig;
    return leave(put_number(current, device->mig));
}

int nvmlDeviceGetMaxMigDeviceCount(Slot *slot, unsigned *count) {
    CALL("nvmlDeviceGetMaxMigDeviceCount", slot)
    *count = device->mig > 0 ? MAX_PARTS - 1 : 0;
    return leave(SUCCESS);
}

int nvmlDeviceGetMigDeviceHandleByIndex(Slot *slot, unsigned index, Slot **handle) {
    CALL("nvmlDeviceGetMigDeviceHandleByIndex", slot)
    if (index >= (unsigned)device->n_parts) return leave(NOT_FOUND);
    const char *uuid = device->parts[index].uuid;
    int i = 0;
    while (i < n_part_slots && strcmp(part_slots[i].uuid, uuid)) i++;
    if (i == n_part_slots) {
        if (i == MAX_GPUS * MAX_PARTS) return leave(UNKNOWN);
        copy(part_slots[n_part_slots++].uuid, uuid);
    }
    part_slots[i].parent = slot;
    *handle = &part_slots[i];
    return leave(SUCCESS);
}

int nvmlDeviceGetGpuInstanceId(Slot *slot, unsigned *instance) {
    CALL("nvmlDeviceGetGpuInstanceId", slot)
    *instance = device->instance;
    return leave(slot->parent ? SUCCESS : NOT_SUPPORTED);
}

/* --- events --- */

typedef struct { Slot *device; u64 type, data; unsigned instance, compute; } Event;

static int the_event_set;

static int newest(const Device *device) {
    int sequence = 0;
    for (int i = 0; i < device->n_xids; i++)
        if (device->xids[i].sequence > sequence) sequence = device->xids[i].sequence;
    return sequence;
}

int nvmlEventSetCreate(int **set) {
    CALL("nvmlEventSetCreate", NULL)
    *set = &the_event_set;
    return leave(SUCCESS);
}

/* Only what happens from now on is delivered. */
int nvmlDeviceRegisterEvents(Slot *slot, u64 types, int *set) {
    CALL("nvmlDeviceRegisterEvents", slot)
    if (set != &the_event_set || !(types & 8)) return leave(INVALID_ARGUMENT);
    slot->registered = 1;
    slot->seen = newest(device);
    return leave(SUCCESS);
}

int nvmlEventSetWait_v2(int *set, Event *event, unsigned milliseconds) {
    CALL("nvmlEventSetWait_v2", NULL)
    if (set != &the_event_set) return leave(INVALID_ARGUMENT);
    for (int i = 0; i < n_slots; i++) {
        device = slots[i].registered ? find(&slots[i]) : NULL;
        for (int j = 0; device && j < device->n_xids; j++) {
            if (device->xids[j].sequence <= slots[i].seen) continue;
            slots[i].seen = device->xids[j].sequence;
            *event = (Event){&slots[i], 8, device->xids[j].number, ~0u, ~0u};
            return leave(SUCCESS);
        }
    }
    usleep(milliseconds * 1000);
    return leave(TIMEOUT);
}
