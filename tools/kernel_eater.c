/* The init of tools/kernel_eater.py's virtual machine: swap on zram, then the eater of the ground truth: 98 304 pages filled in order from
   4096 locked ones, then read in order. Prints the zone before, what /proc/vmstat counted meanwhile and zram's failed writes, then powers the
   machine off. Kernel command line: lru_gen=0 or 7, codec=NAME, min_free=KILOBYTES, free=PAGES that the eater starts with. */
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
	while ((name = strsep(&rest, " ")) && *name) {
		snprintf(path, sizeof path, "/lib/%s", name);
		int file = open(path, O_RDONLY);
		check(syscall(SYS_finit_module, file, "", 0) == 0, name);
		close(file);
	}
}

/* What the kernel's command line says after NAME=, or `text` as it is. */
static char *option(const char *name, char text[32])
{
	static char command[PAGE];
	char key[32], *found;
	read_text("/proc/cmdline", command, sizeof command);
	snprintf(key, sizeof key, " %s=", name);
	found = strstr(command, key);
	if (found)
		sscanf(found + strlen(key), "%31s", text);
	return text;
}

static void set_up(void)
{
	static char first[PAGE], lru_gen[32] = "0", codec[32] = "lz4", min_free[32] = "";
	put("/sys/kernel/mm/lru_gen/enabled", option("lru_gen", lru_gen));
	if (*option("min_free", min_free))
		put("/proc/sys/vm/min_free_kbytes", min_free);
	put("/sys/block/zram0/comp_algorithm", option("codec", codec));
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

static long counted(const char *name)
{
	static struct vmstat now;
	read_vmstat(&now);
	for (int i = 0; i < now.n; i++)
		if (!strcmp(now.name[i], name))
			return now.value[i];
	check(0, name);
	return 0;
}

/* Locks pages until no more are free than the command line wants. */
static void leave_free(void)
{
	char wanted[32] = "";
	long more = *option("free", wanted) ? counted("nr_free_pages") - atol(wanted) : 0;
	check(more >= 0, "fewer pages are free than wanted");
	if (more > 0)
		check(mlock(map(more), more * PAGE) == 0, "mlock of what should not be free");
}

/* Prints the figures that a model of this zone takes. */
static void print_zone(void)
{
	static char text[1 << 16];
	static const char *const names[] = {"\n        min ", "\n        low ", "\n        high ", "\n        managed "};
	read_text("/proc/zoneinfo", text, sizeof text);
	for (int i = 0; i < 4; i++) {
		char *found = strstr(strstr(text, "DMA32"), names[i]);
		printf("kcompressd-zone%s%ld\n", names[i] + 8, found ? atol(found + strlen(names[i])) : -1);
	}
	printf("kcompressd-zone free %ld\n", counted("nr_free_pages"));
}

static void print_failed_writes(void)
{
	char text[128];
	long reads, writes = -1;
	read_text("/sys/block/zram0/io_stat", text, sizeof text);
	sscanf(text, "%ld %ld", &reads, &writes);
	printf("kcompressd-vmstat failed_writes %ld\n", writes);
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
	leave_free();
	print_zone();
	read_vmstat(&before);
	for (long page = 0; page < EATEN; page++)
		memcpy(eaten + page * PAGE, source + page % SOURCE * PAGE, PAGE);
	for (long word = 0; word < (long)EATEN * PAGE / 8; word++)
		sum += ((long *)eaten)[word];
	read_vmstat(&after);
	for (int i = 0; i < after.n; i++)
		printf("kcompressd-vmstat %s %ld\n", after.name[i], after.value[i] - before.value[i]);
	print_failed_writes();
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
