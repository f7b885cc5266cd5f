/* A program of another process: it says that it is there, and waits in a function of its own. */
#include <stdio.h>

__attribute__((noinline)) int well_known(void) {
    puts("here");
    fflush(stdout);
    int got = getchar();
    return got + 1;
}

int main(void) {
    return well_known() == 0 ? 0 : 1;
}
