"""Builds what is not Python: the native code, where there is a compiler, the catalogues of languages, and the notebooks of the lessons.

All else about the package stands in pyproject.toml. `ESCRIBA_BUILD_NATIVE=off` builds no native code; `required` ends with an error where
it, or a level of it, cannot be built.
"""

import os
import platform
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "tools"))
import native  # noqa: E402 - it lies in tools/

ASKED = os.environ.get("ESCRIBA_BUILD_NATIVE", "auto")
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")
"""Python without its lock has no stable ABI yet: there the library bears the name of its version."""

if sys.platform == "darwin" and sysconfig.get_platform().endswith("universal2") and "ARCHFLAGS" not in os.environ:
    # Python's own installer brings both processors; the native code is built, and the wheel named, for the one at hand.
    os.environ["ARCHFLAGS"] = f"-arch {platform.machine()}"
    os.environ["_PYTHON_HOST_PLATFORM"] = sysconfig.get_platform().replace("universal2", platform.machine())


class Build(build_py):
    """The package, its catalogues compiled, and beside its modules a notebook and a script of every page of the lessons."""

    def run(self) -> None:
        """Builds; an editable install needs no notebooks, it has the pages themselves."""
        from catalogues import compile_all

        compile_all(HERE / "src" / "escriba" / "locale")
        super().run()
        if not self.editable_mode:
            sys.path.insert(0, str(HERE / "src"))
            from escriba.lessons import write_notebooks

            for scripts in (False, True):
                write_notebooks(HERE / "docs" / "lessons", Path(self.build_lib) / "escriba" / "notebooks", scripts=scripts)


class BuildNative(build_ext):
    """The native code: every file with its own flags; levels that this compiler cannot build are left out."""

    def build_extension(self, ext: Extension) -> None:
        """Builds the library, or raises what makes setuptools go on without an optional one."""
        try:
            ext.extra_objects = self.compiled()
        except OSError as error:  # no such compiler
            raise CompileError(str(error)) from error
        ext.sources, ext.depends = [], ext.extra_objects
        super().build_extension(ext)

    def compiled(self) -> list[str]:
        """The object files."""
        x86_64, msvc = native.for_x86_64(), self.compiler.compiler_type == "msvc"
        files = {path.name: path for path in native.sources(x86_64=x86_64)}
        newest = max(path.stat().st_mtime for path in [*native.headers(), HERE / "setup.py", Path(native.__file__)])

        def compiled(name: str, macros: tuple[str, ...] = ()) -> str:
            source = str(files[name].relative_to(HERE))
            (there,) = self.compiler.object_filenames([source], output_dir=self.build_temp)
            made_at = Path(there).stat().st_mtime if Path(there).exists() else 0
            if not self.force and not macros and made_at > max(newest, files[name].stat().st_mtime):
                return there
            flags = [*native.flags(files[name], msvc=msvc, x86_64=x86_64), *os.environ.get("ESCRIBA_BUILD_FLAGS", "").split()]
            defined = [(macro, None) for macro in macros]
            (made,) = self.compiler.compile([source], output_dir=self.build_temp, macros=defined, extra_postargs=flags)
            return made

        def level(name: str) -> str | None:
            try:
                return compiled(name)
            except CompileError as error:
                if ASKED == "required":
                    raise
                self.warn(f"{name} is left out, this compiler does not build it: {error}")
                return None

        objects = [compiled("module.c")]  # alone, before all else: without a compiler it ends here
        plain = [name for name in files if name not in native.LEVELS and name not in ("module.c", native.DISPATCH)]
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            levels = {name: workers.submit(level, name) for name in native.LEVELS if name in files}
            others = [workers.submit(compiled, name) for name in plain]
            objects += [one.result() for one in others]
            built = {name: made for name, one in levels.items() if (made := one.result())}
        macros = ("ESCRIBA_BUILT", *(native.LEVELS[name].macro for name in built))
        return [*objects, *built.values(), compiled(native.DISPATCH, macros)]


class Wheel(bdist_wheel):
    """The wheel: of this system where it has native code, of every system where it has none."""

    def run(self) -> None:
        """Builds first, so that it is known which of the two it is."""
        self.run_command("build")
        if not any(Path(one).exists() for one in self.get_finalized_command("build_ext").get_outputs()):
            self.distribution.ext_modules = []
            self.root_is_pure = True
        super().run()


EXTENSION = Extension(
    "escriba._native._kernels",
    sources=[str(path.relative_to(HERE)) for path in native.sources(x86_64=True)],
    language="c++",
    extra_compile_args=os.environ.get("ESCRIBA_BUILD_FLAGS", "").split(),
    extra_link_args=[] if os.name == "nt" else ["-pthread", *os.environ.get("ESCRIBA_BUILD_FLAGS", "").split()],
    py_limited_api=LIMITED,
    optional=ASKED != "required",
)
setup(
    cmdclass={"build_py": Build, "build_ext": BuildNative, "bdist_wheel": Wheel},
    ext_modules=[] if ASKED == "off" else [EXTENSION],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
