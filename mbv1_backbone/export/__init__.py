"""Networks as files: graphs from bytes of images to answers, and their writers."""
