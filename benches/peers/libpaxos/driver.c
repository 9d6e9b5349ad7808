/* Measures libpaxos under the load of `paxos bench`: three acceptors, a proposer, and a client that
 * is the learner, each a process, over TCP on loopback.
 *
 * usage: libpaxos [--outstanding N] [--size BYTES] [--seconds S]
 *
 * Prints one JSON object like that of `paxos bench --json`. Everything between the client's submit
 * and its delivery is libpaxos as it comes: its roles, its event loops, its memory storage.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <evpaxos.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ACCEPTORS = 3, SERVERS = ACCEPTORS + 1, MOST_BYTES = 32768 };
/* Microseconds: until connections stand, until it is measured, and until the run has failed. */
enum { SETTLE = 300000, WARM_UP = 500000, STUCK = 5000000 };

/* The servers, the proposer last. */
static pid_t servers[SERVERS];
static int ports[SERVERS];
static char conf[] = "/tmp/libpaxos-XXXXXX";

/* What was asked for. */
static long outstanding = 1, size = 64;
static double seconds = 2;

/* The client's state. What is submitted is the time and then `size` bytes. */
static struct event_base *base;
static struct bufferevent *proposer;
static char value[sizeof(int64_t) + MOST_BYTES];
static long in_flight;
static int64_t begin, end, last, heard;
/* In microseconds, of all that was submitted in the measured time. */
static uint32_t *latencies;
static size_t count, room;

static void fail(const char *format, ...) {
    va_list words;
    va_start(words, format);
    fputs("libpaxos: ", stderr);
    vfprintf(stderr, format, words);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void end_servers(void) {
    for (int server = 0; server < SERVERS; server++) {
        if (servers[server] > 0) {
            kill(servers[server], SIGKILL);
            waitpid(servers[server], NULL, 0);
        }
    }
    unlink(conf);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Finds ports that nobody has. All are held until the last one is found, so that they differ. */
static void find_ports(void) {
    int sockets[SERVERS];
    for (int server = 0; server < SERVERS; server++) {
        struct sockaddr_in address = loopback(0);
        socklen_t length = sizeof address;
        sockets[server] = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(sockets[server], (struct sockaddr *)&address, length) ||
            getsockname(sockets[server], (struct sockaddr *)&address, &length))
            fail("there is no free port on 127.0.0.1: %s", strerror(errno));
        ports[server] = ntohs(address.sin_port);
    }
    for (int server = 0; server < SERVERS; server++)
        close(sockets[server]);
}

static void write_conf(void) {
    int descriptor = mkstemp(conf);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    if (!file)
        fail("%s cannot be written: %s", conf, strerror(errno));
    fprintf(file, "verbosity error\n");
    for (int id = 0; id < ACCEPTORS; id++)
        fprintf(file, "acceptor %d 127.0.0.1 %d\n", id, ports[id]);
    fprintf(file, "proposer 0 127.0.0.1 %d\n", ports[ACCEPTORS]);
    if (fclose(file))
        fail("%s cannot be written: %s", conf, strerror(errno));
}

/* A server process; tells by a byte that it listens. It never outlives its parent. */
static void serve(int server, pid_t parent, int ready) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    struct event_base *own = event_base_new();
    int started = server < ACCEPTORS ? evacceptor_init(server, conf, own) != NULL
                                     : evproposer_init(0, conf, own) != NULL;
    if (started && write(ready, "!", 1) == 1) {
        close(ready);
        event_base_dispatch(own);
    }
    _exit(EXIT_FAILURE);
}

static void start(int server) {
    int ready[2];
    char byte;
    pid_t parent = getpid();
    if (pipe(ready) || (servers[server] = fork()) < 0)
        fail("a process cannot be started: %s", strerror(errno));
    if (servers[server] == 0) {
        close(ready[0]);
        serve(server, parent, ready[1]);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        fail("the server at port %d did not start; is the port taken?", ports[server]);
    close(ready[0]);
}

/* Submits as much as may be in flight; after the measured time waits for the rest. */
static void submit(void) {
    int64_t time = now();
    while (time < end && in_flight < outstanding) {
        memcpy(value, &time, sizeof time);
        paxos_submit(proposer, value, (int)(sizeof time + size));
        in_flight++;
    }
    if (in_flight == 0)
        event_base_loopbreak(base);
}

static void on_deliver(unsigned instance, char *delivered, size_t length, void *nothing) {
    (void)instance, (void)length, (void)nothing;
    int64_t submitted;
    memcpy(&submitted, delivered, sizeof submitted);
    heard = now();
    in_flight--;
    if (submitted >= begin && submitted < end) {
        if (count == room) {
            room = room ? room * 2 : 1 << 16;
            latencies = realloc(latencies, room * sizeof *latencies);
            if (!latencies)
                fail("there is no memory for %zu latencies", room);
        }
        latencies[count++] = (uint32_t)(heard - submitted);
        last = heard;
    }
    submit();
}

static void on_start(evutil_socket_t none, short events, void *nothing) {
    (void)none, (void)events, (void)nothing;
    heard = now();
    begin = last = heard + WARM_UP;
    end = begin + (int64_t)(seconds * 1e6);
    submit();
}

static void on_watch(evutil_socket_t none, short events, void *nothing) {
    (void)none, (void)events, (void)nothing;
    if (in_flight > 0 && now() - heard > STUCK)
        fail("nothing was delivered for %d s", STUCK / 1000000);
}

static void on_event(struct bufferevent *connection, short events, void *nothing) {
    (void)connection, (void)nothing;
    if (!(events & BEV_EVENT_CONNECTED))
        fail("the proposer does not answer at port %d", ports[ACCEPTORS]);
}

static void run(void) {
    base = event_base_new();
    struct sockaddr_in address = loopback(ports[ACCEPTORS]);
    proposer = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(proposer, NULL, NULL, on_event, NULL);
    bufferevent_enable(proposer, EV_READ | EV_WRITE);
    bufferevent_socket_connect(proposer, (struct sockaddr *)&address, sizeof address);
    int yes = 1;
    setsockopt(bufferevent_getfd(proposer), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (!evlearner_init(conf, on_deliver, NULL, base))
        fail("the learner cannot read %s", conf);
    unlink(conf); /* Everybody has read it, and a killed client leaves nothing behind. */
    struct timeval settle = {0, SETTLE}, second = {1, 0};
    event_add(evtimer_new(base, on_start, NULL), &settle);
    event_add(event_new(base, -1, EV_PERSIST, on_watch, NULL), &second);
    event_base_dispatch(base);
}

static int compare(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static unsigned quantile(double share) {
    size_t place = (size_t)ceil(share * (double)count);
    return count ? latencies[place > 0 ? place - 1 : 0] : 0;
}

/* `resent` and `behind` are for those over UDP: nothing is lost here, and nobody drops out. */
static void report(FILE *output) {
    double taken = (double)(last - begin) / 1e6, rate = taken > 0 ? (double)count / taken : 0;
    qsort(latencies, count, sizeof *latencies, compare);
    fprintf(output, "{\"peer\":\"libpaxos\",\"clients\":1,\"outstanding\":%ld,", outstanding);
    fprintf(output, "\"value_bytes\":%ld,\"values_per_datagram\":null,", size);
    fprintf(output, "\"seconds\":%f,\"values\":%zu,", taken, count);
    fprintf(output, "\"values_per_second\":%f,\"megabytes_per_second\":%f,", rate,
            rate * (double)size / 1e6);
    fprintf(output, "\"resent\":0,\"behind\":null,\"p50_us\":%u,\"p90_us\":%u,", quantile(0.5),
            quantile(0.9));
    fprintf(output, "\"p99_us\":%u,\"p999_us\":%u,\"max_us\":%u}\n", quantile(0.99),
            quantile(0.999), quantile(1));
}

/* The number after an option, from `least` to `most`. */
static double number(const char *option, const char *text, double least, double most) {
    char *rest = "";
    double read = text ? strtod(text, &rest) : NAN;
    if (*rest || !(read >= least && read <= most))
        fail("%s takes a number from %g to %g", option, least, most);
    return read;
}

int main(int argc, char **argv) {
    for (int word = 1; word < argc; word += 2) {
        if (!strcmp(argv[word], "--outstanding"))
            outstanding = (long)number(argv[word], argv[word + 1], 1, 65536);
        else if (!strcmp(argv[word], "--size"))
            size = (long)number(argv[word], argv[word + 1], 1, MOST_BYTES);
        else if (!strcmp(argv[word], "--seconds"))
            seconds = number(argv[word], argv[word + 1], 0.01, 3600);
        else
            fail("%s is unknown; there are --outstanding, --size, --seconds", argv[word]);
    }
    /* What the library says, it says on standard output, where only the result belongs. */
    FILE *output = fdopen(dup(STDOUT_FILENO), "w");
    if (!output || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        fail("there is no standard output: %s", strerror(errno));
    signal(SIGPIPE, SIG_IGN);
    memset(value, 'v', sizeof value);
    find_ports();
    write_conf();
    atexit(end_servers);
    for (int server = 0; server < SERVERS; server++)
        start(server);
    run();
    report(output);
    return fclose(output) ? EXIT_FAILURE : EXIT_SUCCESS;
}
