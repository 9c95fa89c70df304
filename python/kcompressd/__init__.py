"""kcompressd: a user-space laboratory of Linux's asynchronous memory compression."""
