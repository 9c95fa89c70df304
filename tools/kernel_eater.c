/* The init of tools/kernel_eater.py's virtual machine: swap on zram, then the eater of the ground truth: 98 304 pages filled in order from
   4096 locked ones, then read in order. Prints what /proc/vmstat counted meanwhile, then powers the machine off. Kernel command line: lru_gen=0
   or 7, codec=NAME. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, SOURCE = 4096, EATEN = 98304, COUNTERS = 512 };

struct vmstat { int n; char name[COUNTERS][48]; long value[COUNTERS]; };

static void check(int fine, const char *what)
{
	if (!fine)
		printf("kcompressd-failed %s\n", what);
}

static void put(const char *path, const char *value)
{
	int file = open(path, O_WRONLY);
	check(file >= 0 && write(file, value, strlen(value)) == (ssize_t)strlen(value), path);
	close(file);
}

static void read_text(const char *path, char *text, int size)
{
	int file = open(path, O_RDONLY), filled = 0, got;
	check(file >= 0, path);
	while ((got = read(file, text + filled, size - 1 - filled)) > 0)
		filled += got;
	text[filled] = 0;
	close(file);
}

static void read_vmstat(struct vmstat *stat)
{
	static char text[1 << 16];
	char *rest = text, *line;
	read_text("/proc/vmstat", text, sizeof text);
	for (stat->n = 0; (line = strsep(&rest, "\n")) && *line && stat->n < COUNTERS; stat->n++)
		sscanf(line, "%47s %ld", stat->name[stat->n], &stat->value[stat->n]);
}

static void load_modules(void)
{
	static char names[PAGE];
	char path[256], *rest = names, *name;
	read_text("/modules", names, sizeof names);
	while ((name = strsep(&rest, " "))) {
		snprintf(path, sizeof path, "/lib/%s", name);
		int file = open(path, O_RDONLY);
		check(syscall(SYS_finit_module, file, "", 0) == 0, name);
		close(file);
	}
}

static void set_up(void)
{
	static char command[PAGE], first[PAGE], codec[32] = "lz4";
	read_text("/proc/cmdline", command, sizeof command);
	char *wanted = strstr(command, "codec=");
	if (wanted)
		sscanf(wanted, "codec=%31s", codec);
	put("/sys/kernel/mm/lru_gen/enabled", strstr(command, "lru_gen=7") ? "7" : "0");
	put("/sys/block/zram0/comp_algorithm", codec);
	put("/sys/block/zram0/disksize", "1073741824");
	/* A swap header: version 1, the last page (include/linux/swap.h). */
	*(unsigned *)(first + 1024) = 1;
	*(unsigned *)(first + 1028) = (1 << 18) - 1;
	memcpy(first + PAGE - 10, "SWAPSPACE2", 10);
	int swap = open("/dev/zram0", O_RDWR);
	check(write(swap, first, PAGE) == PAGE && fsync(swap) == 0, "the swap header");
	close(swap);
	check(swapon("/dev/zram0", 0) == 0, "swapon");
}

static char *map(long pages)
{
	return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void eat(void)
{
	static struct vmstat before, after;
	static volatile long sum;
	char *source = map(SOURCE), *eaten = map(EATEN);
	int file = open("/dev/vda", O_RDONLY);
	for (long page = 0; page < SOURCE; page++)
		check(read(file, source + page * PAGE, PAGE) == PAGE, "a page of the disk");
	check(mlock(source, (long)SOURCE * PAGE) == 0, "mlock");
	read_vmstat(&before);
	for (long page = 0; page < EATEN; page++)
		memcpy(eaten + page * PAGE, source + page % SOURCE * PAGE, PAGE);
	for (long word = 0; word < (long)EATEN * PAGE / 8; word++)
		sum += ((long *)eaten)[word];
	read_vmstat(&after);
	for (int i = 0; i < after.n; i++)
		printf("kcompressd-vmstat %s %ld\n", after.name[i], after.value[i] - before.value[i]);
}

int main(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("none", "/proc", "proc", 0, "");
	mount("none", "/sys", "sysfs", 0, "");
	mount("none", "/dev", "devtmpfs", 0, "");
	int console = open("/dev/console", O_RDWR);
	dup2(console, 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	load_modules();
	set_up();
	eat();
	printf("kcompressd-end\n");
	sync();
	return reboot(RB_POWER_OFF);
}
