/* What a hostile command, or only an unusual one, does under a supervisor. Each prints what came of it. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void told(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "done");
    fflush(stdout);
}

static struct sockaddr_un inside, outside;
/* The one that is changed while the kernel may read it. */
static struct sockaddr_un *shared;
static volatile int is_over;
static int sockets[3];

static struct sockaddr_un named(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    return name;
}

static void *flip_names(void *unused)
{
    while (!is_over) {
        memcpy(shared, &outside, sizeof outside);
        memcpy(shared, &inside, sizeof inside);
    }
    return unused;
}

static void *flip_descriptors(void *unused)
{
    while (!is_over) {
        dup2(sockets[0], sockets[2]);
        dup2(sockets[1], sockets[2]);
    }
    return unused;
}

static void race(void *(*flip)(void *), void (*attempt)(void))
{
    pthread_t thread;
    is_over = 0;
    pthread_create(&thread, NULL, flip, NULL);
    for (int n = 0; n < 4000; n++)
        attempt();
    is_over = 1;
    pthread_join(thread, NULL);
}

static int n_connected;

static void connect_new(void)
{
    int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(socket_, (void *)shared, sizeof *shared) == 0)
        n_connected++;
    close(socket_);
    for (int one; (one = accept(sockets[0], NULL, NULL)) >= 0;)
        close(one);
}

static void connect_flipped(void)
{
    connect(sockets[2], (void *)&outside, sizeof outside);
}

static void bind_new(void)
{
    int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(socket_, (void *)shared, sizeof *shared);
    close(socket_);
    unlink("/tmp/bound");
}

static void attack_sockets(char **args)
{
    outside = named(args[0]);
    inside = named("/tmp/inside");
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    told("plain", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&outside, sizeof outside));
    told("packets", connect(socket(AF_UNIX, SOCK_SEQPACKET, 0), (void *)&outside, sizeof outside));
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path + 1, args[1]);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(args[1]);
    told("abstract", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, length));
    told("datagrams", socket(AF_UNIX, SOCK_DGRAM, 0));
    told("raw", socket(AF_UNIX, SOCK_RAW | SOCK_CLOEXEC, 0));
    int pair[2];
    told("a pair of datagrams", socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair));
    told("a pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    told("a pair that connects", connect(pair[0], (void *)&outside, sizeof outside));

    sockets[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    told("bind", bind(sockets[0], (void *)&inside, sizeof inside));
    told("one that has a name", connect(sockets[0], (void *)&outside, sizeof outside));
    told("listen", listen(sockets[0], 8));
    race(flip_names, connect_new);
    printf("connected: %s\n", n_connected > 0 ? "some" : "none");

    sockets[1] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockets[2] = dup(sockets[1]);
    sockets[0] = socket(AF_UNIX, SOCK_STREAM, 0);
    race(flip_descriptors, connect_flipped);

    inside = named("/tmp/bound");
    outside = named(args[2]);
    race(flip_names, bind_new);
    puts("over");
}

static void attack_listen(char **args)
{
    struct sockaddr_un name = named(args[0]), peer;
    socklen_t length = sizeof peer;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    told("bind", bind(listener, (void *)&name, sizeof name));
    told("bind again", bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name));
    told("listen", listen(listener, 1));
    if (fork() == 0) {
        int from = socket(AF_UNIX, SOCK_STREAM, 0);
        char text[6] = "";
        told("connect", connect(from, (void *)&name, sizeof name));
        told("read", read(from, text, 5));
        puts(text);
        told("connect again", connect(from, (void *)&name, sizeof name));
        exit(0);
    }
    int accepted = accept(listener, (void *)&peer, &length);
    told("write", write(accepted, "hello", 5));
    wait(NULL);
    close(listener);
    told("nobody there", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name));
    told("nothing there", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&(struct sockaddr_un){AF_UNIX, "/none"}, 110));
}

static void attack_untraced(char **args)
{
    (void)args;
    const unsigned long refused[] = {0x00800000, 0x00008000, 0x10000000};
    for (int n = 0; n < 3; n++) {
        long child = syscall(SYS_clone, refused[n] | SIGCHLD, 0, 0, 0, 0);
        if (child == 0) {
            /* It would be there after the build. */
            execl("/bin/sleep", "sleep", "98763", NULL);
            _exit(1);
        }
        told("clone", child);
    }
    told("unshare", unshare(CLONE_NEWUSER));
}

/* A frame of a program that starts another on a stack within it, as musl's posix_spawn does. */
static struct {
    unsigned char below[65536];
    unsigned char stack[5120];
    unsigned char above[65536];
} frame;

static int execute(void *args)
{
    execv(((char **)args)[0], args);
    _exit(errno == ENOENT ? 127 : 126);
}

static int spawned(char **args)
{
    int status;
    memset(&frame, 0x5a, sizeof frame);
    pid_t child = clone(execute, frame.stack + sizeof frame.stack, CLONE_VM | CLONE_VFORK | SIGCHLD, args);
    waitpid(child, &status, 0);
    for (size_t n = 0; n < sizeof frame.below; n++)
        if (frame.below[n] != 0x5a)
            return printf("overwritten, %zu beneath\n", sizeof frame.below - n), status;
    return status;
}

static void attack_spawn(char **args)
{
    char **many = calloc(200002, sizeof *many);
    const int counts[] = {0, 3000, 3000, 200000};
    for (int n = 0; n < 4; n++) {
        many[0] = args[0];
        for (int at = 1; at <= counts[n]; at++)
            many[at] = "x";
        many[counts[n] + 1] = NULL;
        printf("%d\n", WEXITSTATUS(spawned(many)));
        fflush(stdout);
    }
    char *none[] = {"/none", NULL}, *plain[] = {"/tmp/plain", NULL}, *long_[] = {"/tmp/long", NULL};
    printf("%d %d %d\n", WEXITSTATUS(spawned(none)), WEXITSTATUS(spawned(plain)), WEXITSTATUS(spawned(long_)));
}

static void attack_capabilities(char **args)
{
    static const unsigned char bytes[20] = {1, 0, 0, 2, 0, 4};
    char buffer[64];
    if (args[1])
        told("set", setxattr(args[0], args[1], bytes, sizeof bytes, 0));
    else
        printf("%zd\n", getxattr(args[0], "security.capability", buffer, sizeof buffer));
}

static void attack_mapped(char **args)
{
    int file = open(args[0], O_RDWR);
    char *bytes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    bytes[0] = '#';
    told("map", msync(bytes, 4096, MS_SYNC));
}

static void attack_append(char **args)
{
    int file = open(args[0], O_WRONLY | O_APPEND);
    told("append", write(file, "x", 1));
    /* Nobody would see it by the time. */
    struct timespec same[2] = {{1, 0}, {1, 0}};
    told("times", futimens(file, same));
}

static void attack_others(char **args)
{
    pid_t other = atoi(args[0]);
    struct rlimit none = {0, 0};
    struct sched_param plain = {0};
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    told("limits", prlimit(other, RLIMIT_NOFILE, &none, NULL));
    told("own limits", prlimit(getpid(), RLIMIT_CORE, &none, NULL));
    told("processors", sched_setaffinity(other, sizeof set, &set));
    told("own processors", sched_setaffinity(gettid(), sizeof set, &set));
    told("schedule", sched_setscheduler(other, SCHED_BATCH, &plain));
    told("priority", setpriority(PRIO_PROCESS, other, 5));
    told("all priorities", setpriority(PRIO_USER, 0, 5));
    told("own priority", setpriority(PRIO_PROCESS, 0, 5));
    told("input and output", syscall(SYS_ioprio_set, 1, other, 3 << 13));
    told("all input and output", syscall(SYS_ioprio_set, 3, 0, 3 << 13));
    told("watch", inotify_add_watch(inotify_init1(0), "/tmp", IN_CREATE));
}

static void attack_terminal(char **args)
{
    (void)args;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master);
    unlockpt(master);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    char text[8] = "";
    told("write", write(slave, "through", 7));
    told("read", read(master, text, 7));
    puts(text);
    told("a terminal of its own", open("/dev/tty", O_RDWR));
    close(slave);
    char name[64];
    strcpy(name, ptsname(master));
    close(master);
    told("closed", open(name, O_RDWR | O_NOCTTY));
}

static void attack_places(char **args)
{
    struct stat found;
    int directory = open(args[0], O_PATH | O_DIRECTORY), file = open(args[1], O_PATH);
    told("directory", fstatat(directory, args[1], &found, 0));
    told("file", fstatat(file, "", &found, AT_EMPTY_PATH));
    told("link", fchmodat(AT_FDCWD, args[2], 0700, AT_SYMLINK_NOFOLLOW));
    told("pipe", fchmodat(AT_FDCWD, args[3], 0700, AT_SYMLINK_NOFOLLOW));
    told("change", fchdir(directory));
}

static void attack_unlinked(char **args)
{
    struct stat found;
    int file = open(args[0], O_RDWR | O_CREAT, 0600);
    told("owner", fchown(file, 5, 6));
    unlink(args[0]);
    fstat(file, &found);
    printf("%d %d\n", found.st_uid, found.st_gid);
    told("mode", fchmod(file, 04711));
    close(file);
    /* It has the inode of the other, most likely. */
    close(open(args[0], O_RDWR | O_CREAT, 0600));
    stat(args[0], &found);
    printf("%d %o\n", found.st_uid, found.st_mode & 07777);
    told("the caller's", fchmod(0, 0640));
}

static void attack_as(char **args)
{
    int id = atoi(args[0]);
    setresgid(id, id, id);
    setresuid(id, id, id);
    execv(args[1], args + 1);
    told("execute", -1);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*attack)(char **);
    } attacks[] = {
        {"sockets", attack_sockets},
        {"listen", attack_listen},
        {"untraced", attack_untraced},
        {"spawn", attack_spawn},
        {"capabilities", attack_capabilities},
        {"mapped", attack_mapped},
        {"append", attack_append},
        {"others", attack_others},
        {"terminal", attack_terminal},
        {"places", attack_places},
        {"unlinked", attack_unlinked},
        {"as", attack_as},
    };
    for (size_t n = 0; argc > 1 && n < sizeof attacks / sizeof *attacks; n++)
        if (strcmp(argv[1], attacks[n].name) == 0)
            return attacks[n].attack(argv + 2), 0;
    return 2;
}
