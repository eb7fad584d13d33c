/**
 * Bytes of memory that are held for readers who do not keep up, whoever they are: output that the kernel has not taken,
 * queues of sessions that are not kept, and what was read back of queues that are. Many readers who each stay within
 * their own limit can still be too much together.
 */
export const held = { bytes: 0 };
