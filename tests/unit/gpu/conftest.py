from tests.fake_nvml.fixtures import fake_nvml_library, script

__all__ = ["fake_nvml_library", "script"]
