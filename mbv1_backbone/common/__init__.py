"""What every room uses: errors, files, images, prefetching. Imports nothing of ours."""
