/* A libcuda.so.1 that tells of a made-up box: FAKE_CUDA="name|GiB|major|minor;...", one entry per card.
   A first card whose name contains " MIG " is a slice. Like the real driver it obeys CUDA_VISIBLE_DEVICES: indices or
   beginnings of UUIDs, up to the first entry that names no card. FAKE_CUDA_ERROR is what cuInit returns, and -1 hangs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct { char name[80]; int gib, major, minor; } cards[16];
static int count = 0, visible[16], n_visible = 0;

static void uuid_of(int card, char *text) {
    sprintf(text, "%s-%02x%02x%02x%02x-", strstr(cards[card].name, " MIG ") ? "MIG" : "GPU",
            0x10 + card, 0x10 + card, 0x10 + card, 0x10 + card);
}

static int card_named(const char *entry) {
    char *end, text[64];
    long index = strtol(entry, &end, 10);
    if (end != entry && *end == 0) return index >= 0 && index < count ? (int)index : -1;
    for (int card = 0; card < count; card++) {
        uuid_of(card, text);
        size_t n = strlen(entry) < strlen(text) ? strlen(entry) : strlen(text);
        if (n > 4 && strncmp(entry, text, n) == 0) return card;
    }
    return -1;
}

int cuInit(unsigned flags) {
    const char *error = getenv("FAKE_CUDA_ERROR"), *box = getenv("FAKE_CUDA"), *listed = getenv("CUDA_VISIBLE_DEVICES");
    char copy[1024], *entry, *rest;
    if (error && atoi(error) == -1) sleep(60);
    if (error && atoi(error)) return atoi(error);
    strncpy(copy, box ? box : "", sizeof copy - 1);
    for (entry = strtok_r(copy, ";", &rest); entry; entry = strtok_r(NULL, ";", &rest), count++)
        sscanf(entry, "%79[^|]|%d|%d|%d", cards[count].name, &cards[count].gib, &cards[count].major, &cards[count].minor);
    if (!listed) { for (; n_visible < count; n_visible++) visible[n_visible] = n_visible; }
    else {
        strncpy(copy, listed, sizeof copy - 1);
        for (entry = strtok_r(copy, ",", &rest); entry; entry = strtok_r(NULL, ",", &rest)) {
            int card = card_named(entry);
            if (card < 0) break;
            visible[n_visible++] = card;
        }
    }
    return n_visible ? 0 : 100;
}
int cuGetErrorName(int error, const char **name) {
    *name = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH";
    return error == 803 ? 0 : 1;
}
int cuDeviceGetCount(int *n) { *n = n_visible; return 0; }
int cuDeviceGet(int *device, int index) { *device = visible[index]; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, cards[device].name, size); return 0; }
int cuDeviceGetUuid_v2(unsigned char *bytes, int device) { memset(bytes, 0x10 + device, 16); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)cards[device].gib << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? cards[device].major : attribute == 76 ? cards[device].minor : 0;
    return 0;
}
