/* For LD_PRELOAD: kills the process at a chosen one of its calls that change files below a folder, or send to a server.
 *
 * KILL_FOLDER  the folder
 * KILL_AT      number, from 1, of the call before which SIGKILL comes
 * KILL_TORN    1: a write has put down half of its bytes before
 * KILL_SENDING True: calls that send to a server count too
 *
 * The environment is read at each call, so that a process forked from a warm one can set it for itself. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long calls;

static int inside(const char *path) {
    const char *folder = getenv("KILL_FOLDER");
    return folder && getenv("KILL_AT") && strncmp(path, folder, strlen(folder)) == 0;
}

static int inside_fd(int fd) {
    char link[64], path[PATH_MAX];
    if (!getenv("KILL_AT")) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path);
}

/* Whether this is the call to die at. */
static int due(int counts) { return counts && ++calls == atol(getenv("KILL_AT")); }

static int torn(void) {
    const char *value = getenv("KILL_TORN");
    return value && value[0] == '1';
}

static int sending(void) {
    const char *value = getenv("KILL_SENDING");
    return value && value[0] == 'T';
}

static void die(void) { raise(SIGKILL); }

ssize_t write(int fd, const void *data, size_t size) {
    if (due(inside_fd(fd))) {
        if (torn()) REAL(write)(fd, data, size / 2);
        die();
    }
    return REAL(write)(fd, data, size);
}

#define PWRITE(name, offset_t)                                             \
    ssize_t name(int fd, const void *data, size_t size, offset_t offset) { \
        if (due(inside_fd(fd))) {                                          \
            if (torn()) REAL(name)(fd, data, size / 2, offset);            \
            die();                                                         \
        }                                                                  \
        return REAL(name)(fd, data, size, offset);                         \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PWRITEV(name, offset_t)                                                 \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_t offset) { \
        if (due(inside_fd(fd))) {                                               \
            if (torn()) REAL(name)(fd, parts, count / 2, offset);               \
            die();                                                              \
        }                                                                       \
        return REAL(name)(fd, parts, count, offset);                            \
    }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define CALL(result, name, declared, passed, counts) \
    result name declared {                           \
        if (due(counts)) die();                      \
        return REAL(name) passed;                    \
    }
CALL(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags), sending())
CALL(int, fsync, (int fd), (fd), inside_fd(fd))
CALL(int, fdatasync, (int fd), (fd), inside_fd(fd))
CALL(int, ftruncate, (int fd, off_t size), (fd, size), inside_fd(fd))
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size), inside_fd(fd))
CALL(int, truncate, (const char *path, off_t size), (path, size), inside(path))
CALL(int, truncate64, (const char *path, off64_t size), (path, size), inside(path))
CALL(int, rename, (const char *from, const char *to), (from, to), inside(to))
CALL(int, renameat, (int old, const char *from, int new, const char *to), (old, from, new, to), inside(to))
CALL(int, unlink, (const char *path), (path), inside(path))
CALL(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), inside(path))
