// SPDX-License-Identifier: GPL-2.0
/*
 * thp_recorder: what a recording asks of the kernel and no system call does. Write a command to /proc/thp_recorder, read what it returned:
 *
 *	get PFN		get_page() on that very page, as a driver would hold it
 *	put PFN		put_page()
 *	split PFN ORDER	get_page(), lock_page(), split_huge_page() on that very page, unlock_page(), put_page()
 *	pup ADDRESS NR	pin_user_pages_fast() on memory of the caller, to read it; the answer is a number for the pin, from 1 on
 *	unpup NUMBER	unpin_user_pages() on that pin; 0: on all
 *
 * Nothing is looked at from here: the recorder reads struct pages and page tables from outside.
 */
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define SPLIT_NAME "split_huge_page_to_list_to_order"
#define SPLIT(page, order) split_page_of(page, NULL, order)
static int (*split_page_of)(struct page *page, struct list_head *list, unsigned int order);
#else
#define SPLIT_NAME "split_huge_page_to_list"
#define SPLIT(page, order) split_page_of(page, NULL)
static int (*split_page_of)(struct page *page, struct list_head *list);
#endif

static DEFINE_MUTEX(lock);
static long answer;
static struct {
	struct page **pages;
	long nr;
} pins[16];

static long pup(unsigned long address, unsigned long nr)
{
	struct page **pages;
	long taken;
	int i;

	for (i = 0; i < ARRAY_SIZE(pins) && pins[i].pages; i++)
		;
	if (i == ARRAY_SIZE(pins) || nr > 1 << 16)
		return -ENOSPC;
	pages = kvcalloc(nr, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	taken = pin_user_pages_fast(address, nr, 0, pages);
	if (taken < (long)nr) {
		if (taken > 0)
			unpin_user_pages(pages, taken);
		kvfree(pages);
		return taken < 0 ? taken : -EFAULT;
	}
	pins[i].pages = pages;
	pins[i].nr = nr;
	return i + 1;
}

static void unpup(unsigned long number)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(pins); i++) {
		if (!pins[i].pages || (number && number != i + 1))
			continue;
		unpin_user_pages(pins[i].pages, pins[i].nr);
		kvfree(pins[i].pages);
		pins[i].pages = NULL;
	}
}

/* The real callers ask PageTransCompound() first; on a small page the split would be a bug of the caller. */
static long split(struct page *page, unsigned long order)
{
	long ret;

	if (!PageCompound(page) || !page_ref_count(compound_head(page)))
		return -ENXIO;
	get_page(page);
	lock_page(page);
	ret = SPLIT(page, order);
	unlock_page(page);
	put_page(page);
	return ret;
}

static long obey(const char *command)
{
	unsigned long pfn, order, address, number;

	if (sscanf(command, "split %lu %lu", &pfn, &order) == 2 && pfn_valid(pfn))
		return split(pfn_to_page(pfn), order);
	if (sscanf(command, "get %lu", &pfn) == 1 && pfn_valid(pfn)) {
		get_page(pfn_to_page(pfn));
		return 0;
	}
	if (sscanf(command, "put %lu", &pfn) == 1 && pfn_valid(pfn)) {
		put_page(pfn_to_page(pfn));
		return 0;
	}
	if (sscanf(command, "pup %lu %lu", &address, &number) == 2)
		return pup(address, number);
	if (sscanf(command, "unpup %lu", &number) == 1) {
		unpup(number);
		return 0;
	}
	return -EINVAL;
}

static ssize_t command_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char command[64];

	if (size >= sizeof(command))
		return -EINVAL;
	if (copy_from_user(command, from, size))
		return -EFAULT;
	command[size] = 0;
	mutex_lock(&lock);
	answer = obey(command);
	mutex_unlock(&lock);
	return size;
}

static ssize_t answer_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	char text[32];

	return simple_read_from_buffer(to, size, at, text, scnprintf(text, sizeof(text), "%ld\n", answer));
}

static const struct proc_ops ops = {
	.proc_read = answer_read, .proc_write = command_write, .proc_lseek = default_llseek,
};

/* The function is not exported: a kprobe tells where it is. */
static int __init recorder_init(void)
{
	struct kprobe probe = { .symbol_name = SPLIT_NAME };
	int ret = register_kprobe(&probe);

	if (ret)
		return ret;
	split_page_of = (void *)probe.addr;
	unregister_kprobe(&probe);
	return proc_create("thp_recorder", 0600, NULL, &ops) ? 0 : -ENOMEM;
}

static void __exit recorder_exit(void)
{
	remove_proc_entry("thp_recorder", NULL);
}

module_init(recorder_init);
module_exit(recorder_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Pins and splits pages for a recording");
