/* Writes down what a process does to files whose path begins with $FIRE_PREFIX, in order, into the file $FIRE_LOG.
 *
 * Loaded with LD_PRELOAD. One record is one append: a header (struct head, native byte order), `size` bytes of data,
 * `name` bytes of path. A write is recorded once it has returned; a sync when it begins and again when it has ended,
 * with its thread as `offset`: so whatever the log shows before the beginning was on its way to the disk. powerloss.py reads it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct head {
    char kind; /* C create, W write, T truncate, B/E begin and end of a sync, b/e of a folder's, R rename, U unlink */
    char pad[7];
    uint64_t inode, offset, size, name;
};

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int ours(const char *path) {
    const char *prefix = getenv("FIRE_PREFIX");
    return prefix && strncmp(path, prefix, strlen(prefix)) == 0;
}

static void record(char kind, uint64_t inode, uint64_t offset, const void *data, uint64_t size, const char *name) {
    static int log = -1;
    int error = errno;
    if (log < 0) log = open(getenv("FIRE_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct head head = {kind, {0}, inode, offset, size, strlen(name)};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)data, size}, {(void *)name, strlen(name)}};
    if (writev(log, parts, 3) != (ssize_t)(sizeof head + size + strlen(name))) abort();
    errno = error;
}

/* Is `fd` a file of ours? Then its path and inode. */
static int known(int fd, char *path, uint64_t *inode) {
    int error = errno;
    char link[64];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    int found = 0;
    if (length > 0) {
        path[length] = 0;
        found = ours(path) && fstat(fd, &status) == 0;
        if (found) *inode = status.st_ino;
    }
    errno = error;
    return found;
}

static void opened(int fd, const char *path, int flags) {
    char real_path[PATH_MAX];
    uint64_t inode;
    (void)path;
    if (fd >= 0 && (flags & O_CREAT) && known(fd, real_path, &inode)) record('C', inode, 0, "", 0, real_path);
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list rest;
    va_start(rest, flags);
    int fd = real(path, flags, va_arg(rest, mode_t));
    va_end(rest);
    opened(fd, path, flags);
    return fd;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    char path[PATH_MAX];
    uint64_t inode;
    ssize_t written = real(fd, data, size, offset);
    if (written > 0 && known(fd, path, &inode)) record('W', inode, (uint64_t)offset, data, (uint64_t)written, "");
    return written;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    char path[PATH_MAX];
    uint64_t inode;
    ssize_t written = real(fd, data, size);
    if (written > 0 && known(fd, path, &inode)) {
        uint64_t end = (uint64_t)lseek(fd, 0, SEEK_CUR);
        record('W', inode, end - (uint64_t)written, data, (uint64_t)written, "");
    }
    return written;
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    char path[PATH_MAX];
    uint64_t inode;
    int result = real(fd, size);
    if (result == 0 && known(fd, path, &inode)) record('T', inode, (uint64_t)size, "", 0, "");
    return result;
}

/* The folder of our files counts too: its sync makes their names durable. */
static int synced(int fd, int (*real)(int)) {
    char path[PATH_MAX] = "";
    uint64_t inode = 0, thread = (uint64_t)gettid();
    const char *prefix = getenv("FIRE_PREFIX");
    int file = known(fd, path, &inode);
    size_t length = file ? 0 : strnlen(path, PATH_MAX);
    int folder = !file && prefix && strncmp(prefix, path, length) == 0 && !strchr(prefix + length + 1, '/');
    if (file || folder) record(file ? 'B' : 'b', inode, thread, "", 0, "");
    int result = real(fd);
    if (result == 0 && (file || folder)) record(file ? 'E' : 'e', inode, thread, "", 0, "");
    return result;
}

int fsync(int fd) {
    REAL(fsync);
    return synced(fd, real);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return synced(fd, real);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    int result = real(from, to);
    if (result == 0 && (ours(from) || ours(to))) record('R', 0, 0, from, strlen(from), to);
    return result;
}

int unlink(const char *path) {
    REAL(unlink);
    int result = real(path);
    if (result == 0 && ours(path)) record('U', 0, 0, "", 0, path);
    return result;
}
