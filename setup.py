"""Builds the catalogues of languages and the notebooks of the lessons into the package; all else about it stands in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class Build(build_py):
    """The package, its catalogues compiled, and beside its modules a notebook and a script of every page of the lessons."""

    def run(self) -> None:
        """Builds; an editable install needs no notebooks, it has the pages themselves."""
        sys.path.insert(0, str(HERE / "tools"))
        from catalogues import compile_all

        compile_all(HERE / "src" / "escriba" / "locale")
        super().run()
        if not self.editable_mode:
            sys.path.insert(0, str(HERE / "src"))
            from escriba.lessons import write_notebooks

            for scripts in (False, True):
                write_notebooks(HERE / "docs" / "lessons", Path(self.build_lib) / "escriba" / "notebooks", scripts=scripts)


setup(cmdclass={"build_py": Build})
