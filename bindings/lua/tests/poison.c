/*
 * A Lua interpreter with an allocator that notices misuse. Usage: poison MODE SCRIPT [ARGUMENT...]
 *
 *   move   each block moves when its size changes, fresh memory is full of 0xcd, freed memory of
 *          0xdb, and what was written behind a block is found when it goes; the collector never
 *          rests
 *   fail   the script runs again and again, and the n-th allocation of the n-th run fails, and all
 *          after it: no memory is an error, not a crash. The script is short, and checks nothing.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#define GUARD     16u
#define MOST_RUNS 4000u

struct heap {
    uint64_t count, fail_at; /* allocations so far; the first that fails, 0: none */
    size_t blocks;
};

static void check_guard(const unsigned char *block, size_t bytes)
{
    for (size_t i = 0; i < GUARD; i++) {
        if (block[bytes + i] != 0xfd) {
            fprintf(stderr, "poison: byte %zu behind a block of %zu was written\n", i, bytes);
            abort();
        }
    }
}

static void *allocate(void *opaque, void *old, size_t old_bytes, size_t bytes)
{
    struct heap *heap = opaque;
    unsigned char *block = NULL;

    if (bytes) {
        heap->count++;
        /* Lua counts on it that blocks can shrink. */
        if (heap->fail_at && heap->count >= heap->fail_at && !(old && bytes <= old_bytes))
            return NULL;
        block = malloc(bytes + GUARD);
        if (!block)
            return NULL;
        memset(block, 0xcd, bytes);
        memset(block + bytes, 0xfd, GUARD);
        heap->blocks++;
    }
    if (old) {
        check_guard(old, old_bytes);
        if (block)
            memcpy(block, old, old_bytes < bytes ? old_bytes : bytes);
        memset(old, 0xdb, old_bytes + GUARD);
        free(old);
        heap->blocks--;
    }
    return block;
}

struct program {
    int argc;
    char **argv;
};

static int protected(lua_State *L)
{
    const struct program *program = lua_touserdata(L, 1);

    luaL_openlibs(L);
    lua_createtable(L, program->argc, 1);
    for (int i = 0; i < program->argc; i++) {
        lua_pushstring(L, program->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");
    if (luaL_loadfile(L, program->argv[0]) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

/* Whether the script ended without an error. */
static bool run(struct heap *heap, struct program *program, bool busy)
{
    lua_State *L = lua_newstate(allocate, heap);
    bool good;

    if (!L)
        return false;
    if (busy)
        lua_gc(L, LUA_GCINC, 10, 1000, 6); /* pause, speed, step: always at work */
    lua_pushcfunction(L, protected);
    lua_pushlightuserdata(L, program);
    good = lua_pcall(L, 1, 0, 0) == LUA_OK;
    heap->fail_at = 0; /* the end needs no luck */
    if (!good && busy)
        fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
    lua_close(L);
    return good;
}

static int fail_everywhere(struct program *program)
{
    for (uint64_t n = 1; n <= MOST_RUNS; n++) {
        struct heap heap = {.fail_at = n};
        bool good = run(&heap, program, false);

        if (heap.blocks) {
            fprintf(stderr, "poison: run %llu left %zu blocks\n", (unsigned long long)n,
                    heap.blocks);
            return 1;
        }
        if (good && heap.count < n) {
            printf("all of %llu allocations have failed once\n", (unsigned long long)heap.count);
            return 0;
        }
    }
    fprintf(stderr, "poison: the script does not come to its end\n");
    return 1;
}

int main(int argc, char **argv)
{
    struct program program = {argc - 2, argv + 2};
    struct heap heap = {0};

    if (argc < 3) {
        fprintf(stderr, "usage: poison move|fail SCRIPT [ARGUMENT...]\n");
        return 2;
    }
    if (strcmp(argv[1], "fail") == 0)
        return fail_everywhere(&program);
    return run(&heap, &program, true) ? 0 : 1;
}
