"""A zram device that ages: fast compression first, what stays idle once more with zstd, compaction, huge pages written back."""

from kcompressd import Pages, Zram

pages = Pages.sample()
device = Zram(compressor="lz4", secondary=["zstd:19"], slots=len(pages), backing_pages=len(pages))
for slot, page in enumerate(pages.array):
    device.store(slot, page)
print("stored      ", device)

device.clock = 3600  # an hour later only every fourth page has been touched
for slot in range(0, len(pages), 4):
    device.load(slot)
device.mark_idle(age=1800)
print("recompressed", device.recompress(idle=True), "pages:", device)  # in more memory: holes
print("compacted   ", device.compact(), "pages freed:", device)
print("written back", device.writeback(huge=True), "pages:", device.bd_stat)

assert all((device.load(slot) == page).all() for slot, page in enumerate(pages.array)), "every page reads back"
print("mm_stat     ", *device.mm_stat.values())
