/* Lets fsync and fdatasync take MLGOV_BENCH_FLUSH_MS milliseconds longer, as a network disk's do. To be loaded before libc:
   a tracer, which stops the program at these calls, makes all its other calls several times as dear. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static int flushed(const char *name, int descriptor) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *wanted = getenv("MLGOV_BENCH_FLUSH_MS");
    long milliseconds = wanted ? atol(wanted) : 0;
    struct timespec more = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    int result = real(descriptor);
    nanosleep(&more, NULL);
    return result;
}

int fdatasync(int descriptor) { return flushed("fdatasync", descriptor); }
int fsync(int descriptor) { return flushed("fsync", descriptor); }
