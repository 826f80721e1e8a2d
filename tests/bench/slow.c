/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A filesystem of one file, `disk`, that stands for a volume fresh from a snapshot: the first touch of each 512 KiB block
 * takes 150 ms, any number of blocks at a time; afterwards the block is as fast as the image behind it.
 *
 *     cc -O2 slow.c $(pkg-config --cflags --libs fuse3) -o slow && SLOW_IMAGE=IMAGE ./slow -o max_threads=300 DIRECTORY
 */
#define FUSE_USE_VERSION 312
#include <fuse.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 512 * 1024, DELAY = 150 * 1000 /* microseconds */ };
static int image;
static off_t size;
static atomic_char *touched;

static void *slow_init(struct fuse_conn_info *connection, struct fuse_config *config) {
    connection->max_background = connection->congestion_threshold = 256;
    config->direct_io = 1;
    return NULL;
}

static int slow_getattr(const char *path, struct stat *status, struct fuse_file_info *info) {
    (void)info;
    memset(status, 0, sizeof *status);
    if (!strcmp(path, "/")) {
        status->st_mode = S_IFDIR | 0755;
        return 0;
    }
    if (strcmp(path, "/disk")) return -ENOENT;
    status->st_mode = S_IFREG | 0444;
    status->st_size = size;
    return 0;
}

static int slow_read(const char *path, char *buffer, size_t count, off_t offset, struct fuse_file_info *info) {
    (void)path, (void)info;
    if (!count || offset >= size) return 0;
    for (off_t block = offset / BLOCK; block <= (off_t)(offset + count - 1) / BLOCK; block++)
        if (!touched[block]) {
            usleep(DELAY);
            touched[block] = 1;
        }
    ssize_t done = pread(image, buffer, count, offset);
    return done < 0 ? -errno : (int)done;
}

static const struct fuse_operations operations = {.init = slow_init, .getattr = slow_getattr, .read = slow_read};

int main(int count, char **arguments) {
    image = open(getenv("SLOW_IMAGE"), O_RDONLY);
    if (image < 0) return 1;
    size = lseek(image, 0, SEEK_END);
    touched = calloc(size / BLOCK + 1, 1);
    return fuse_main(count, arguments, &operations, NULL);
}
