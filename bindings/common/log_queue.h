/*
 * Messages of a VM on their way to a script. The library logs on any thread, with locks held, and
 * may not be called back: so messages wait here until the script's next call, where its function
 * may do anything. Shared by the bindings: bindings/gen/generate copies it from bindings/common.
 */
#ifndef VMLIB_BINDING_LOG_QUEUE_H
#define VMLIB_BINDING_LOG_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LOG_MESSAGES 32u
#define LOG_TEXT     512u

struct log_message {
    uint32_t level;
    char text[LOG_TEXT];
};

struct log_queue {
    pthread_mutex_t lock;
    unsigned first, count; /* when it is full, new messages are forgotten */
    bool delivering;
    struct log_message message[LOG_MESSAGES];
};

static inline void log_queue_init(struct log_queue *queue)
{
    memset(queue, 0, sizeof(*queue));
    pthread_mutex_init(&queue->lock, NULL);
}

/* A vmlib_log_fn; opaque is the queue. */
static inline void log_queue_put(void *opaque, uint32_t level, const char *text)
{
    struct log_queue *queue = opaque;

    pthread_mutex_lock(&queue->lock);
    if (queue->count < LOG_MESSAGES) {
        struct log_message *m = &queue->message[(queue->first + queue->count++) % LOG_MESSAGES];
        size_t length = strnlen(text, LOG_TEXT - 1);

        m->level = level;
        memcpy(m->text, text, length);
        m->text[length] = 0;
    }
    pthread_mutex_unlock(&queue->lock);
}

static inline bool log_queue_take(struct log_queue *queue, struct log_message *message)
{
    bool found;

    pthread_mutex_lock(&queue->lock);
    found = queue->count > 0;
    if (found) {
        *message = queue->message[queue->first];
        queue->first = (queue->first + 1) % LOG_MESSAGES;
        queue->count--;
    }
    pthread_mutex_unlock(&queue->lock);
    return found;
}

#endif
