/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An S3 endpoint that is never the bottleneck: bodies are dropped in the kernel (recv with MSG_TRUNC). Of every object
 * it keeps the size and the checksum it was told, so that HEAD can answer. What can be read are the files of DIRECTORY,
 * whose names are those of keys with every slash as a comma; they are sent from the page cache by sendfile.
 *
 *     cc -O2 -pthread sink.c -o sink && ./sink PORT [DIRECTORY]       loopback only; no authentication, no checking
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADERS = 65536, KEYS = 4096 };

struct object {
    char key[1024], checksum[64];
    long long size;
};
static struct object objects[KEYS];
static int object_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *directory;

static struct object *find(const char *key) {
    for (int i = 0; i < object_count; i++)
        if (!strcmp(objects[i].key, key)) return &objects[i];
    return NULL;
}

static void keep(const char *key, long long size, const char *checksum) {
    pthread_mutex_lock(&lock);
    struct object *o = find(key);
    if (!o && object_count < KEYS) o = &objects[object_count++];
    if (o) {
        snprintf(o->key, sizeof o->key, "%s", key);
        snprintf(o->checksum, sizeof o->checksum, "%s", checksum);
        o->size = size;
    }
    pthread_mutex_unlock(&lock);
}

/* Parts add up to the object, for clients that do not say how large it will be. */
static void add(const char *key, long long size) {
    pthread_mutex_lock(&lock);
    struct object *o = find(key);
    if (o) o->size += size;
    pthread_mutex_unlock(&lock);
}

/* The value of a header, copied up to the end of its line; "" without it. */
static void header(const char *head, const char *name, char *value, size_t room) {
    size_t length = strlen(name);
    value[0] = 0;
    for (const char *line = head; (line = strstr(line, "\r\n")); ) {
        line += 2;
        if (strncasecmp(line, name, length) || line[length] != ':') continue;
        line += length + 1;
        while (*line == ' ') line++;
        size_t n = strcspn(line, "\r\n");
        if (n >= room) n = room - 1;
        memcpy(value, line, n);
        value[n] = 0;
        return;
    }
}

static int drain(int fd, long long left) {
    while (left > 0) {
        ssize_t n = recv(fd, NULL, left < (1 << 30) ? (size_t)left : (size_t)1 << 30, MSG_TRUNC);
        if (n <= 0) return -1;
        left -= n;
    }
    return 0;
}

static void answer(int fd, const char *status, const char *extra, const char *body, int with_body, long long length) {
    char out[8192];
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 %s\r\nx-amz-request-id: sink\r\nETag: \"d41d8cd98f00b204e9800998ecf8427e\"\r\n"
                     "Last-Modified: Sun, 01 Jan 2017 00:00:00 GMT\r\nDate: Sun, 01 Jan 2017 00:00:00 GMT\r\n%s"
                     "Content-Type: application/xml\r\nContent-Length: %lld\r\n\r\n%s",
                     status, extra, length, with_body ? body : "");
    if (send(fd, out, n, MSG_NOSIGNAL) < 0) return;
}

/* Whether a file of the directory was sent, or its head. */
static int serve_file(int fd, const char *method, const char *url, const char *head) {
    char path[4200], range[64], line[128] = "", *to = path + snprintf(path, sizeof path, "%s/", directory ? directory : "");
    const char *key = strchr(url + 1, '/');
    struct stat status;
    if (!directory || !key++) return 0;
    for (; *key && to < path + sizeof path - 1; to++) {
        unsigned code;
        if (*key == '%' && sscanf(key + 1, "%2x", &code) == 1) key += 3;
        else code = (unsigned char)*key++;
        *to = code == '/' ? ',' : (char)code;
    }
    *to = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status)) return 0;
    long long begin = 0, end = status.st_size - 1;
    header(head, "range", range, sizeof range);
    if (range[0] && sscanf(range, "bytes=%lld-%lld", &begin, &end) > 0) {
        if (end >= status.st_size) end = status.st_size - 1;
        snprintf(line, sizeof line, "Content-Range: bytes %lld-%lld/%lld\r\n", begin, end, (long long)status.st_size);
    }
    answer(fd, range[0] ? "206 Partial Content" : "200 OK", line, "", 0, end - begin + 1);
    off_t at = begin;
    while (strcmp(method, "HEAD") && at <= end && sendfile(fd, file, &at, end - at + 1) > 0) {}
    close(file);
    return 1;
}

static void serve(int fd, const char *method, char *url, const char *head, long long length) {
    char checksum[64], size[32], extra[256] = "";
    char *query = strchr(url, '?');
    if (query) *query++ = 0;
    else query = "";
    header(head, "x-amz-checksum-crc64nvme", checksum, sizeof checksum);
    const char *body = "";
    const char *status = "200 OK";
    if ((!strcmp(method, "GET") || !strcmp(method, "HEAD")) && !query[0] && serve_file(fd, method, url, head)) return;
    if (!strcmp(method, "POST") && !strncmp(query, "uploads", 7)) {
        keep(url, 0, "");
        body = "<InitiateMultipartUploadResult><UploadId>sink</UploadId></InitiateMultipartUploadResult>";
    } else if (!strcmp(method, "POST")) {
        header(head, "x-amz-mp-object-size", size, sizeof size);
        if (size[0]) keep(url, atoll(size), checksum);
        body = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>";
    } else if (!strcmp(method, "PUT") && strstr(query, "uploadId=")) {
        add(url, length);
    } else if (!strcmp(method, "PUT")) {
        keep(url, length, checksum);
    } else if (!strcmp(method, "DELETE"))
        status = "204 No Content";
    else if (!strcmp(method, "HEAD")) {
        pthread_mutex_lock(&lock);
        struct object *o = find(url);
        long long known = o ? o->size : 0;
        if (o && o->checksum[0]) snprintf(extra, sizeof extra, "x-amz-checksum-crc64nvme: %s\r\n", o->checksum);
        pthread_mutex_unlock(&lock);
        answer(fd, o || strchr(url + 1, '/') == NULL ? "200 OK" : "404 Not Found", extra, "", 0, known);
        return;
    } else if (!strcmp(method, "GET") && strstr(query, "uploads"))
        body = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
    else if (!strcmp(method, "GET") && strstr(query, "list-type"))
        body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    else if (!strcmp(method, "GET")) {
        status = "404 Not Found";
        body = "<Error><Code>NoSuchKey</Code><Message>nothing is kept</Message></Error>";
    }
    answer(fd, status, extra, body, 1, (long long)strlen(body));
}

static void *connection(void *argument) {
    int fd = (int)(long)argument, one = 1;
    char *in = malloc(HEADERS);
    size_t have = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (;;) {
        char *end;
        while (!(end = memmem(in, have, "\r\n\r\n", 4))) {
            ssize_t n = have < HEADERS - 1 ? recv(fd, in + have, HEADERS - 1 - have, 0) : 0;
            if (n <= 0) goto out;
            have += n;
        }
        end[2] = 0;
        size_t head = end + 4 - in;
        char method[8], url[4096], value[64];
        if (sscanf(in, "%7s %4095s", method, url) != 2) goto out;
        header(in, "content-length", value, sizeof value);
        long long length = atoll(value), rest = length;
        header(in, "expect", value, sizeof value);
        if (value[0] && send(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL) < 0) goto out;
        char keep_head[8192];
        snprintf(keep_head, sizeof keep_head, "%s", in);
        size_t early = have - head < (size_t)rest ? have - head : (size_t)rest;
        rest -= early;
        memmove(in, in + head + early, have - head - early);
        have -= head + early;
        if (rest && drain(fd, rest)) goto out;
        serve(fd, method, url, keep_head, length);
    }
out:
    close(fd);
    free(in);
    return NULL;
}

int main(int count, char **arguments) {
    directory = count > 2 ? arguments[2] : NULL;
    int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons(count > 1 ? atoi(arguments[1]) : 15090);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 128)) {
        perror("sink");
        return 1;
    }
    for (;;) {
        int fd = accept(server, NULL, NULL);
        pthread_t thread;
        if (fd >= 0 && !pthread_create(&thread, NULL, connection, (void *)(long)fd)) pthread_detach(thread);
    }
}
