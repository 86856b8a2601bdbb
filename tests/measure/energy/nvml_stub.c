/* A made-up NVML with two boards. Board 0 draws WATTS since the library was loaded, on the clock of the process that
 * loaded it, and counts every UPDATE_PERIOD_S. Board 1 is old: it has neither an energy counter nor a power sensor, and
 * knows throttle reasons only under their former name, as does the whole library. Signatures as in nvml.h. */
#include <stdint.h>
#include <string.h>
#include <time.h>

typedef int result_t;
typedef const int *board_t;
typedef struct { unsigned long long total, free, used; } memory_t;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

static const int boards[2] = {0, 1};
static double loaded_s;

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

__attribute__((constructor)) static void load(void) { loaded_s = now_s(); }

result_t nvmlInit_v2(void) { return SUCCESS; }
result_t nvmlInitWithFlags(unsigned int flags) { return SUCCESS; }
result_t nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(result_t result) { return result == NOT_SUPPORTED ? "Not Supported" : "Made-up Error"; }

result_t nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return SUCCESS; }

result_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, board_t *board) {
    if (index > 1) return INVALID_ARGUMENT;
    *board = &boards[index];
    return SUCCESS;
}

result_t nvmlDeviceGetHandleByUUID(const char *uuid, board_t *board) {
    if (strncmp(uuid, "GPU-stub-", 9)) return NOT_FOUND;
    return nvmlDeviceGetHandleByIndex_v2(uuid[9] - '0', board);
}

result_t nvmlDeviceGetTotalEnergyConsumption(board_t board, unsigned long long *millijoules) {
    if (*board == 1) return NOT_SUPPORTED;
    uint64_t updates = (now_s() - loaded_s) / UPDATE_PERIOD_S;
    *millijoules = updates * UPDATE_PERIOD_S * WATTS * 1000;
    return SUCCESS;
}

result_t nvmlDeviceGetPowerUsage(board_t board, unsigned int *milliwatts) {
    *milliwatts = WATTS * 1000;
    return *board == 1 ? NOT_SUPPORTED : SUCCESS;
}

result_t nvmlDeviceGetName(board_t board, char *name, unsigned int length) {
    strncpy(name, "Made-up GPU", length);
    return SUCCESS;
}

result_t nvmlDeviceGetMemoryInfo(board_t board, memory_t *memory) {
    memory->total = 1ULL << 34, memory->used = 1ULL << 30, memory->free = memory->total - memory->used;
    return SUCCESS;
}

result_t nvmlDeviceGetPowerManagementLimit(board_t board, unsigned int *milliwatts) {
    *milliwatts = 300000;
    return SUCCESS;
}

/* type: 1 streaming multiprocessors, 2 memory */
result_t nvmlDeviceGetClockInfo(board_t board, int type, unsigned int *mhz) {
    *mhz = type == 2 ? 1593 : 1410;
    return SUCCESS;
}

result_t nvmlDeviceGetTemperature(board_t board, int sensor, unsigned int *celsius) {
    *celsius = 55;
    return SUCCESS;
}

result_t nvmlDeviceGetPerformanceState(board_t board, int *state) { *state = 0; return SUCCESS; }

result_t nvmlDeviceGetCurrentClocksThrottleReasons(board_t board, unsigned long long *reasons) {
    *reasons = 0x4 | 0x20;
    return SUCCESS;
}
