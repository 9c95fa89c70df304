try:
    import kcompressd._core  # noqa: F401
except ImportError:
    import fake_core  # noqa: F401
