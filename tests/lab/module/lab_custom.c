// SPDX-License-Identifier: GPL-2.0
/* The accelerator of somebody's own driver, /sys/class/custom-accelerator/accN and
 * /dev/accN, that does nothing. "N SERIAL" written to the class's file `add` makes
 * one, "N" written to `remove` takes it away. Root may write what its files say. */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#define CARDS 8
#define FILES 7

struct card {
	struct device dev;
	struct cdev node;
	char text[FILES][32];
};

static struct card *cards[CARDS];
static DEFINE_MUTEX(lock);
static dev_t numbers;

static const struct file_operations node_fops = { .owner = THIS_MODULE };

static ssize_t text_show(struct device *dev, struct device_attribute *attr, char *buf);
static ssize_t text_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count);

#define FILE_OF(name) __ATTR(name, 0644, text_show, text_store)
static struct device_attribute files[FILES] = {
	FILE_OF(vendor), FILE_OF(model), FILE_OF(serial), FILE_OF(numa_node),
	FILE_OF(status), FILE_OF(error_count), FILE_OF(temperature),
};
static const char *const at_first[FILES] = { "0x1d0f", "NPU-100", "", "-1", "online", "0", "40" };

static ssize_t text_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", container_of(dev, struct card, dev)->text[attr - files]);
}

static ssize_t text_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
	char *text = container_of(dev, struct card, dev)->text[attr - files];

	strscpy(text, buf, sizeof(cards[0]->text[0]));
	strreplace(text, '\n', '\0');
	return count;
}

static struct attribute *card_attrs[] = {
	&files[0].attr, &files[1].attr, &files[2].attr, &files[3].attr,
	&files[4].attr, &files[5].attr, &files[6].attr, NULL,
};
ATTRIBUTE_GROUPS(card);

static void card_release(struct device *dev)
{
	kfree(container_of(dev, struct card, dev));
}

static ssize_t add_store(const struct class *class, const struct class_attribute *attr, const char *buf, size_t count);
static ssize_t remove_store(const struct class *class, const struct class_attribute *attr, const char *buf, size_t count);
static CLASS_ATTR_WO(add);
static CLASS_ATTR_WO(remove);
static struct attribute *class_attrs[] = { &class_attr_add.attr, &class_attr_remove.attr, NULL };
ATTRIBUTE_GROUPS(class);

static const struct class card_class = {
	.name = "custom-accelerator",
	.class_groups = class_groups,
	.dev_groups = card_groups,
	.dev_release = card_release,
};

static int add(unsigned int n, const char *serial)
{
	struct card *card = kzalloc(sizeof(*card), GFP_KERNEL);
	int i, ret;

	if (!card)
		return -ENOMEM;
	for (i = 0; i < FILES; i++)
		strscpy(card->text[i], i == 2 ? serial : at_first[i], sizeof(card->text[i]));
	device_initialize(&card->dev);
	card->dev.class = &card_class;
	card->dev.devt = numbers + n;
	cdev_init(&card->node, &node_fops);
	ret = dev_set_name(&card->dev, "acc%u", n);
	if (!ret)
		ret = cdev_device_add(&card->node, &card->dev);
	if (ret)
		put_device(&card->dev);
	else
		cards[n] = card;
	return ret;
}

static void take_away(unsigned int n)
{
	cdev_device_del(&cards[n]->node, &cards[n]->dev);
	put_device(&cards[n]->dev);
	cards[n] = NULL;
}

static ssize_t add_store(const struct class *class, const struct class_attribute *attr, const char *buf, size_t count)
{
	char serial[32] = "";
	unsigned int n;
	int ret;

	if (sscanf(buf, "%u %31s", &n, serial) < 1 || n >= CARDS)
		return -EINVAL;
	mutex_lock(&lock);
	ret = cards[n] ? -EEXIST : add(n, serial);
	mutex_unlock(&lock);
	return ret ? ret : count;
}

static ssize_t remove_store(const struct class *class, const struct class_attribute *attr, const char *buf, size_t count)
{
	unsigned int n;
	int ret = kstrtouint(buf, 10, &n);

	if (ret || n >= CARDS)
		return -EINVAL;
	mutex_lock(&lock);
	if (cards[n])
		take_away(n);
	else
		ret = -ENODEV;
	mutex_unlock(&lock);
	return ret ? ret : count;
}

static int __init lab_custom_init(void)
{
	int ret = alloc_chrdev_region(&numbers, 0, CARDS, "custom-accelerator");

	if (ret)
		return ret;
	ret = class_register(&card_class);
	if (ret)
		unregister_chrdev_region(numbers, CARDS);
	return ret;
}

static void __exit lab_custom_exit(void)
{
	unsigned int n;

	for (n = 0; n < CARDS; n++)
		if (cards[n])
			take_away(n);
	class_unregister(&card_class);
	unregister_chrdev_region(numbers, CARDS);
}

module_init(lab_custom_init);
module_exit(lab_custom_exit);
MODULE_DESCRIPTION("pretended accelerator of somebody's own");
MODULE_LICENSE("GPL");
