/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An nbdkit plugin that stands for a volume fresh from a snapshot: the first touch of each 512 KiB block of a file takes
 * `delay` milliseconds, any number of blocks at a time; afterwards the block is as fast as the file.
 *
 *     cc -O2 -fPIC -shared slow.c -o slow.so && nbdkit ./slow.so file=IMAGE delay=150
 */
#define NBDKIT_API_VERSION 2
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#include <nbdkit-plugin.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 512 * 1024 };
static const char *file;
static int delay = 150, fd = -1;
static int64_t size;
static atomic_char *touched;

static int slow_config(const char *key, const char *value) {
    if (!strcmp(key, "file")) file = strdup(value);
    else if (!strcmp(key, "delay")) delay = atoi(value);
    else return -1;
    return 0;
}

static int slow_get_ready(void) {
    fd = open(file, O_RDONLY);
    size = lseek(fd, 0, SEEK_END);
    touched = calloc(size / BLOCK + 1, 1);
    return fd < 0 ? -1 : 0;
}

static void *slow_open(int readonly) { return &fd; }
static int64_t slow_get_size(void *handle) { return size; }
static int slow_can_multi_conn(void *handle) { return 1; }

static int slow_pread(void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags) {
    for (uint64_t block = offset / BLOCK; block <= (offset + count - 1) / BLOCK; block++)
        if (!touched[block]) {
            usleep(delay * 1000);
            touched[block] = 1;
        }
    return pread(fd, buffer, count, offset) == (ssize_t)count ? 0 : -1;
}

static struct nbdkit_plugin plugin = {
    .name = "slow",
    .config = slow_config,
    .get_ready = slow_get_ready,
    .open = slow_open,
    .get_size = slow_get_size,
    .can_multi_conn = slow_can_multi_conn,
    .pread = slow_pread,
};
NBDKIT_REGISTER_PLUGIN(plugin)
