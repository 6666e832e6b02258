"""Builds vmlib._core against an installed libvmlib (pkg-config) or against a build of the source tree:

    VMLIB_BUILD=../../build/release pip install --no-build-isolation .
"""
import glob
import os
import subprocess

from setuptools import Extension, setup


def flags():
    build = os.environ.get("VMLIB_BUILD")
    if build:
        build = os.path.abspath(build)
        top = os.path.abspath(os.environ.get("VMLIB_SOURCE", os.path.join(os.path.dirname(__file__), "../..")))
        dirs = [os.path.join(build, "lib/library"), os.path.join(build, "lib/devices")]
        return {"include_dirs": [os.path.join(top, "include")], "library_dirs": dirs,
                "runtime_library_dirs": dirs, "libraries": ["vmlib-devices", "vmlib"]}
    try:
        words = subprocess.check_output(["pkg-config", "--cflags", "--libs", "vmlib-devices"], text=True).split()
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit("libvmlib is not found by pkg-config: install it, set PKG_CONFIG_PATH, or set VMLIB_BUILD "
                         "to a build folder of its source tree") from None
    return {"extra_compile_args": [w for w in words if not w.startswith(("-l", "-L"))],
            "extra_link_args": [w for w in words if w.startswith(("-l", "-L"))]}


os.chdir(os.path.dirname(os.path.abspath(__file__)))
options = flags()
options.setdefault("extra_compile_args", []).append("-std=gnu11")
setup(ext_modules=[Extension("vmlib._core", sources=sorted(glob.glob("src/*.c")),
                             depends=glob.glob("src/*.h") + glob.glob("src/*.inc"), **options)])
