/* Functions with every kind of frame, calling each other in an order that a number decides, down to a read that blocks.
 *
 * Before each call, other functions run and leave their old frames on the stack where the next frame will be: return
 * addresses and frame pointers that look right and are not.
 */
#include <alloca.h>
#include <execinfo.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define POINTER __attribute__((noinline, optimize("no-omit-frame-pointer")))
#define NO_POINTER __attribute__((noinline, optimize("omit-frame-pointer")))

struct walk {
    uint64_t number;
    int levels;
    int wait_for;
    int tell;
    int count;
    void *truth[256];
};

typedef int function(struct walk *);
static function *const functions[];

static volatile int zero;

static uint64_t draw(struct walk *walk) {
    walk->number ^= walk->number << 13;
    walk->number ^= walk->number >> 7;
    walk->number ^= walk->number << 17;
    return walk->number;
}

/* Old frames. */
POINTER int dirty_pointer(int levels) {
    volatile char bytes[40];
    bytes[0] = (char)levels;
    return levels > 0 ? dirty_pointer(levels - 1) + bytes[0] : zero;
}

NO_POINTER int dirty(int levels) {
    volatile char bytes[24];
    bytes[0] = (char)levels;
    return levels > 0 ? dirty_pointer(levels % 7) + dirty(levels - 1) + bytes[0] : zero;
}

static int (*volatile dirty_by_pointer)(int) = dirty_pointer;

static int leaf(struct walk *walk);

#define NEXT (walk->levels-- > 0 ? functions[draw(walk) % 16] : leaf)
#define DIRTY (dirty((int)(draw(walk) % 12)) + dirty_by_pointer((int)(draw(walk) % 20)))

POINTER int plain_pointer(struct walk *walk) { return DIRTY + NEXT(walk) + 1; }
NO_POINTER int plain(struct walk *walk) { return DIRTY + NEXT(walk) + 1; }

/* The stack pointer moves by an amount that no table tells; nothing is written to most of it. */
POINTER int moving(struct walk *walk) {
    int done = DIRTY;
    volatile char *bytes = alloca(draw(walk) % 900 + 1);
    bytes[0] = 1;
    return done + NEXT(walk) + bytes[0];
}

POINTER int moving_direct(struct walk *walk) {
    int done = DIRTY;
    volatile char *bytes = alloca(draw(walk) % 300 + 1);
    bytes[0] = 1;
    return done + plain_pointer(walk) + bytes[0];
}

/* The frame is aligned more than a call does. */
POINTER int aligned(struct walk *walk) {
    volatile char bytes[64] __attribute__((aligned(64)));
    bytes[0] = 1;
    return DIRTY + NEXT(walk) + bytes[0];
}

NO_POINTER int aligned_moving(struct walk *walk) {
    volatile char bytes[96] __attribute__((aligned(128)));
    volatile char *more = alloca(draw(walk) % 500 + 1);
    bytes[0] = more[0] = 1;
    return DIRTY + NEXT(walk) + bytes[0] + more[0];
}

/* More arguments than registers: they are pushed before the call. */
NO_POINTER int nine(struct walk *walk, int b, int c, int d, int e, int f, int g, int h, int i) {
    return DIRTY + NEXT(walk) + b + c + d + e + f + g + h + i;
}
POINTER int pushing(struct walk *walk) {
    int some = zero;
    return nine(walk, some, some, some, some, some, 1, 2, some) + some;
}
POINTER int seven(struct walk *walk, int b, int c, int d, int e, int f, int g) {
    return DIRTY + NEXT(walk) + b + c + d + e + f + g;
}
NO_POINTER int pushing_one(struct walk *walk) {
    int some = zero;
    return seven(walk, some, some, some, some, some, some) + some;
}

/* The call is of another function than the one that is on the stack. */
NO_POINTER int jumping(struct walk *walk) { return NEXT(walk); }
POINTER int jumping_direct(struct walk *walk) { return moving(walk); }

/* Every register is used, the frame pointer too, for something else. */
NO_POINTER int busy(struct walk *walk) {
    uint64_t a = draw(walk), b = draw(walk), c = draw(walk), d = draw(walk), e = draw(walk), f = draw(walk), g = draw(walk);
    int done = DIRTY + NEXT(walk);
    for (int i = 0; i < done % 3 + 1; i++) {
        a ^= b, b += c, c ^= d, d += e, e ^= f, f += g, g ^= a;
    }
    return done + (int)((a ^ b ^ c ^ d ^ e ^ f ^ g) & 1);
}

POINTER int large(struct walk *walk) {
    volatile char bytes[20000];
    bytes[0] = bytes[19999] = 1;
    return DIRTY + NEXT(walk) + bytes[0];
}

/* An early way out before the frame is made, and a seldom part that the compiler puts elsewhere. */
POINTER int early(struct walk *walk) {
    if (__builtin_expect(walk->levels < -5, 0)) {
        return zero;
    }
    if (__builtin_expect(draw(walk) % 2 == 0, 0)) {
        volatile char *bytes = alloca(draw(walk) % 64 + 1);
        bytes[0] = 1;
        return DIRTY + NEXT(walk) + bytes[0];
    }
    return DIRTY + NEXT(walk) + 2;
}

static function *const functions[] = {
    plain_pointer, plain,   moving, moving_direct, aligned, aligned_moving, pushing, pushing_one,
    jumping,       jumping_direct, busy, large,    early,   plain_pointer,  moving,  busy,
};

__attribute__((noinline)) static int leaf_pointer(struct walk *);

__attribute__((noinline)) static int leaf(struct walk *walk) {
    if (draw(walk) % 2 == 0) {
        return leaf_pointer(walk) + 1;
    }
    char byte = 1;
    walk->count = backtrace(walk->truth, 256);
    if (write(walk->tell, &byte, 1) != 1) {
        return 0;
    }
    return read(walk->wait_for, &byte, 1) == 1 ? 1 : 0;
}

POINTER static int leaf_pointer(struct walk *walk) {
    volatile char *bytes = alloca(draw(walk) % 400 + 1);
    char byte = 1;
    bytes[0] = 1;
    walk->count = backtrace(walk->truth, 256);
    if (write(walk->tell, &byte, 1) != 1) {
        return 0;
    }
    return read(walk->wait_for, &byte, 1) == 1 ? bytes[0] : 0;
}

int adversary(struct walk *walk) {
    dirty_pointer(30);
    return functions[draw(walk) % 16](walk);
}
