// SPDX-License-Identifier: MIT
/*
 * steptrace: a plugin for QEMU's TCG that logs every store of the guest's kernel to struct pages and page tables, in order.
 *
 *	qemu-system-x86_64 -plugin steptrace.so,control=FILE,ram=FILE,functions=FILE ...
 *
 * ram		the guest's RAM, a shared file: the value after a store is read there. The value before it comes from a copy of the RAM,
 *		which is taken when recording begins and kept up to date.
 * control	what the host and the plugin share: struct control below (trace.py has its layout, too). The host says which pages are
 *		page tables. Those that are made later are found by the store that makes their struct page say so, and by the first
 *		entry that points into one of the huge pages that the host has named.
 * functions	addresses, one a line, in hexadecimal: that one of them is executed is logged, too.
 *
 * Made for the plugin interface number 1 (QEMU 6 to 8).
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* What is used of QEMU's interface. */
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
enum { NO_REGISTERS = 0, STORES = 2 };
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned int, void *), int, void *);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *),
					     int, int, void *);
extern unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
extern bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);
extern struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t, uint64_t);
extern uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *);
int qemu_plugin_version = 1;

/* x86-64 with 4 levels of page tables, and nokaslr. */
#define DIRECT 0xffff888000000000ULL
#define VMEMMAP 0xffffea0000000000ULL
#define KERNEL_TEXT 0xffffffff80000000ULL
#define PFN_MASK 0x000ffffffffff000ULL
#define STRUCT_PAGE 64
#define HUGE 512
#define MAX_FUNCTIONS 4096

enum { STORE, CALL, STORE_TO_NEW_TABLE };

struct event {
	uint64_t pc, address, before, after, task;
	uint32_t kind, size;
};

struct control {
	volatile uint64_t on, generation, copied, logged, capacity, lost, ram_size;
	uint64_t type_offset, type_mask, type_value;	/* how a struct page says that its page is a page table */
	uint64_t blocks, block[16];			/* the first page frames of huge pages of interest */
	uint64_t current;				/* physical address of the variable `current`; 0: not known */
	uint64_t reserved[64 - 28];
	uint8_t table[1 << 18];				/* for each page frame: is it a page table? */
	struct event log[];
};

static struct control *control;
static uint8_t *ram, *copy;
static uint64_t functions[MAX_FUNCTIONS];
static size_t function_count;

static void copy_page(uint64_t pfn)
{
	memcpy(copy + (pfn << 12), ram + (pfn << 12), 4096);
}

static void begin(void)
{
	if (control->copied == control->generation)
		return;
	memcpy(copy, ram, control->ram_size);
	control->copied = control->generation;
}

static void log_event(struct event event)
{
	if (control->logged >= control->capacity) {
		control->lost++;
		return;
	}
	if (control->current)
		memcpy(&event.task, ram + control->current, 8);
	control->log[control->logged++] = event;
}

static bool of_interest(uint64_t entry)
{
	uint64_t pfn = (entry & PFN_MASK) >> 12;

	for (uint64_t i = 0; (entry & 1) && i < control->blocks; i++)
		if (pfn - control->block[i] < HUGE)
			return true;
	return false;
}

/* A store to a struct page: where it lies in RAM, and whether it makes the page a page table. */
static bool struct_page(qemu_plugin_meminfo_t info, uint64_t address, uint64_t *physical)
{
	struct qemu_plugin_hwaddr *place = qemu_plugin_get_hwaddr(info, address);
	uint64_t pfn = (address - VMEMMAP) / STRUCT_PAGE;
	uint32_t type;

	if (!place)
		return false;
	*physical = qemu_plugin_hwaddr_phys_addr(place);
	if (address % STRUCT_PAGE != control->type_offset || control->table[pfn])
		return true;
	memcpy(&type, ram + *physical, 4);
	if ((type & control->type_mask) == control->type_value) {
		control->table[pfn] = 1;
		copy_page(pfn);
	}
	return true;
}

static void on_store(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *pc)
{
	struct event event = { .pc = (uint64_t)pc, .address = address, .kind = STORE, .size = 1u << qemu_plugin_mem_size_shift(info) };
	uint64_t physical, word;

	if (!control->on || !qemu_plugin_mem_is_store(info))	/* QEMU 7.2 calls for loads, too */
		return;
	begin();
	if (address - VMEMMAP < (control->ram_size >> 12) * STRUCT_PAGE) {
		if (!struct_page(info, address, &physical))
			return;
	} else if (address - DIRECT < control->ram_size) {
		physical = address - DIRECT;
		if (!control->table[physical >> 12]) {
			uint64_t entry;

			if (event.size != 8 || (physical & 7))
				return;
			memcpy(&entry, ram + physical, 8);
			if (!of_interest(entry))
				return;
			control->table[physical >> 12] = 1;
			copy_page(physical >> 12);
			event.kind = STORE_TO_NEW_TABLE;
		}
	} else {
		return;
	}
	word = physical & ~7ULL;
	memcpy(&event.before, copy + word, 8);
	memcpy(&event.after, ram + word, 8);
	memcpy(copy + word, ram + word, 8);
	log_event(event);
}

static void on_call(unsigned int cpu, void *pc)
{
	if (!control->on)
		return;
	begin();
	log_event((struct event){ .pc = (uint64_t)pc, .kind = CALL });
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
	size_t count = qemu_plugin_tb_n_insns(block);

	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
		uint64_t pc = qemu_plugin_insn_vaddr(insn);

		if (pc < KERNEL_TEXT)
			continue;
		if (bsearch(&pc, functions, function_count, sizeof(pc), compare))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_call, NO_REGISTERS, (void *)pc);
		qemu_plugin_register_vcpu_mem_cb(insn, on_store, NO_REGISTERS, STORES, (void *)pc);
	}
}

static void *map(const char *path, size_t *size)
{
	int file = open(path, O_RDWR);
	struct stat status;

	if (file < 0 || fstat(file, &status)) {
		perror(path);
		exit(1);
	}
	*size = status.st_size;
	return mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

static void read_functions(const char *path)
{
	FILE *file = fopen(path, "r");
	unsigned long long address;

	while (file && function_count < MAX_FUNCTIONS && fscanf(file, "%llx", &address) == 1)
		functions[function_count++] = address;
	if (file)
		fclose(file);
	qsort(functions, function_count, sizeof(*functions), compare);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	size_t size;

	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "control=", 8))
			control = map(argv[i] + 8, &size);
		if (!strncmp(argv[i], "ram=", 4)) {
			ram = map(argv[i] + 4, &size);
			copy = malloc(size);
		}
		if (!strncmp(argv[i], "functions=", 10))
			read_functions(argv[i] + 10);
	}
	if (!control || !ram || !copy)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
