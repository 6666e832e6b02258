/*
 * Golden exit streams: a guest program, and the text of everything the host sees of it.
 *
 * A stream is the same on every backend; tests/contract/golden has one file per case. Each record
 * is a line with all fields that the contract fixes, followed by the registers that have changed
 * since the last line; the end has a digest of memory.
 */
#ifndef STREAM_H
#define STREAM_H

#include "modes.h"

struct stream {
    struct world *w;
    enum world_mode mode;
    FILE *out;
    unsigned reads;   /* answered so far */
    unsigned handled; /* accesses that handlers got */
    /* The value for a read; NULL: a pattern. */
    uint64_t (*answer)(struct stream *s, const struct vmlib_exit *e);
    struct vmlib_state last;
    /* Runs of so many instructions; their ends are no part of the stream. 0: no limit. */
    uint64_t slice, carried;
    bool counts; /* the backend says how many instructions have retired */
};

struct stream_case {
    const char *name;
    enum world_mode mode;
    const uint8_t *code, *end; /* NULL: no guest code, but a script */
    uint64_t features; /* 1 << VMLIB_FEATURE_: those beside guest code and the mode that it needs */
    void (*prepare)(struct stream *s);
    void (*drive)(struct stream *s); /* NULL: stream_all() */
    /* NULL, or tells what this host lacks for the case, if anything. */
    const char *(*lacks)(enum world_mode mode);
};
#define STREAM(name, mode, guest, features, prepare, ...)                                    \
    {                                                                                        \
        name, mode, guest, guest##_end, features, prepare, STREAM_REST(__VA_ARGS__, NULL, 0) \
    }
#define STREAM_REST(drive, lacks, ...) drive, lacks
#define F(feature)                     (UINT64_C(1) << VMLIB_FEATURE_##feature)

/* One run; its record is written down, a read is completed. Returns the record. */
struct vmlib_exit stream_run(struct stream *s, const struct vmlib_run_args *args);
/* Run until the guest halts, ends (PORT_END), shuts down, or has made too many records. */
void stream_all(struct stream *s);
/* A line of its own, and the state as it is now. */
void stream_note(struct stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same record without completing it: `stream_record` writes it down. */
void stream_record(struct stream *s, const struct vmlib_exit *e);

/* From here on, handlers answer all accesses as the records would be answered. */
void stream_handle(struct stream *s);

/* Tables of cases end with a NULL name. */
extern const struct stream_case streams_real[], streams_prot[], streams_long[], streams_event[],
    streams_mock[];

#endif
