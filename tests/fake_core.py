"""A stand-in for `kcompressd._core` until it is built: plausible numbers, no compression. Not committed for long."""
import time, types, sys
import numpy as np
VERSION = "0.1.0"
class ProtocolViolation(RuntimeError): ...
class DesignError(ValueError): ...
class CodecError(ValueError): ...
class TableError(ValueError): ...
class DeviceError(OSError): ...
SYNC = dict(enqueue_at="never", tag="none", check_before=[], gates=[], recheck_writeback=False, on_full="sync_new", hold="locked", extra_ref=False, on_complete="stay", on_reject="activate", threads=0, depth=0, batch=1, placement="per_node", start="eager", worker_flags=[], stop_in_predicate=True)
APRIL = SYNC | dict(enqueue_at="swap_writeout", gates=["kswapd_only","anon_only","writeback_enabled","sync_device"], on_reject="device", threads=1, depth=256, stop_in_predicate=False)
AS = SYNC | dict(enqueue_at="zswap_store", check_before=["objcg","limits","pool"], gates=["kswapd_only"], recheck_writeback=True, hold="writeback", on_complete="rotate", threads=1, depth=256, worker_flags=["memalloc"])
P = {"sync": SYNC, "rfc": SYNC | dict(enqueue_at="zram_bio", gates=["kswapd_only"], hold="writeback", on_complete="rotate", on_reject="device", threads=4, depth=4096, placement="first_fit", start="lazy", worker_flags=["memalloc","kswapd"]), "april": APRIL, "async-store": AS,
 "split": AS | dict(enqueue_at="swap_writeout", tag="bit0", gates=["kswapd_only","anon_only"], batch=32, placement="shortest"), "unofficial": APRIL | dict(on_full="sync_head", extra_ref=True, depth=24, worker_flags=["memalloc","kswapd"])}
def presets(): return list(P)
def preset(name, store):
    if name not in P: raise DesignError(f"no preset {name!r}; known: {', '.join(P)}")
    d = dict(P[name])
    if name == "async-store" and store == "zram": d |= dict(enqueue_at="zram_bio", check_before=[])
    return d
def validate_design(d, store, kernel):
    if d["enqueue_at"] == "never" and d["threads"]: raise DesignError(f"enqueue_at = never has no queue: threads must be 0, not {d['threads']}")
    if d["enqueue_at"] != "never" and d["batch"] > max(1, min(32, d["depth"])): raise DesignError("batch = ...")
def design_notes(d, store): return []
def with_depth(d, depth): return d | dict(depth=depth, batch=min(d["batch"], max(1, min(32, depth))))
def with_threads(d, n): return d | dict(threads=n, placement="per_node" if n == 1 and d["placement"] == "first_fit" else d["placement"])
def codecs(): return ["lz4", "zstd"]
def check_codec(t):
    if t.split(":")[0] not in codecs(): raise CodecError(f"unknown compressor {t!r}; known: lz4, zstd")
    return t
class Run:
    def __init__(self, pages, config, table): self.pages, self.config, self.dead = np.asarray(pages), config, False
    def start(self): self.t = time.monotonic()
    def wait(self, s): time.sleep(min(s, .005)); return self.dead or time.monotonic() - self.t > .01
    def progress(self): return dict(phase="reclaim", pages_done=1, pages=len(self.pages), queue_len=[], pool_pages=0, in_flight=0)
    def cancel(self): self.dead = True
    def result(self):
        n = len(self.pages); z = int((~self.pages.any(axis=1)).sum()); c = n - z; cfg = self.config; d = cfg["design"]; zs = cfg["store"] == "zswap"
        q = c if d["threads"] and d["depth"] else 0
        ev = {"isolate": n + q, "pageout": n, "zero": z, "queue": q, "compress": c, "store": c, "reclaim": n, "fault": n, "load": n}
        vm = dict.fromkeys("pgscan_kswapd pgscan_anon pgsteal_kswapd pgsteal_anon pgactivate pgdeactivate pgrefill pgrotated pageoutrun nr_vmscan_write nr_vmscan_immediate_reclaim pgfault pgmajfault pswpin pswpout zswpin zswpout zswpwb swpin_zero swpout_zero kcompressd_queued kcompressd_full kcompressd_done kcompressd_head kcompressd_wakeups fault_waits exit_queued exit_locked exit_writeback exit_kept".split(), 0)
        vm |= dict(pgscan_kswapd=n + q, pgscan_anon=n + q, pgsteal_kswapd=n, pgsteal_anon=n, pageoutrun=2, nr_vmscan_write=n, pgfault=n, pgmajfault=n, swpin_zero=z, swpout_zero=z, kcompressd_queued=q, kcompressd_done=q)
        vm |= dict(zswpin=c, zswpout=c) if zs else dict(pswpin=c, pswpout=c)
        ps = cfg["page_size"]; used = ps * (c // 3 + 1)
        ns = dict(p50=2000, p90=3000, p99=4000, p999=9000, max=20000, mean=2100, count=n)
        return dict(complete=not self.dead, error=dict(kind="cancelled", message="cancelled before its end", actor="") if self.dead else None, errors=[], phases=dict(reclaim_ns=10**7, fault_ns=10**7, exit_ns=10**6), pages=n, page_size=ps,
          census=dict(reclaim={"compressed_freed": c, "zero_filled_freed": z}, fault={"resident": c, "resident_swapcache": z}), vmstat=vm,
          zswap=dict(pool_limit_hit=0, reject_reclaim_fail=0, reject_alloc_fail=0, reject_compress_fail=0, reject_compress_poor=0, decompress_fail=0, written_back_pages=0, stored_incompressible_pages=0, pool_total_size=used, stored_pages=c) if zs else None,
          zram=None if zs else dict(mm_stat=dict(orig_data_size=c * ps, compr_data_size=used - 100, mem_used_total=used, mem_limit=0, mem_used_max=used, same_pages=0, pages_compacted=0, huge_pages=0, huge_pages_since=0), io_stat=dict(failed_reads=0, failed_writes=0, invalid_io=0, notify_free=0)),
          kcompressd=dict(threads=[], queue=dict(depth=d["depth"], capacity=d["depth"])), threads=[dict(actor="kswapd0", reclaim_cpu_ns=10**7, fault_cpu_ns=0, pages_done=n)],
          timing=dict(bytes_per_s=n * ps / .01 * np.random.uniform(.9, 1.1), reclaim_ns=10**7, fault_ns=10**7, reclaim_page_ns=ns, fault_page_ns=ns), lifecycle=dict(events=sum(ev.values()), violations=0, by_event=ev),
          series=dict(t_ns=[1, 2], queue_len=[0, min(1, q)], pool_pages=[0, 1], in_flight=[0, 0]), mismatched=[], device=dict(direct=True, kind="file" if zs else "none"), notes=[])
    def trace(self): return b""
m = sys.modules[__name__]
sys.modules["kcompressd._core"] = m
import kcompressd
kcompressd._core = m
