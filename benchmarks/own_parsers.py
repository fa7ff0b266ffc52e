"""Parsers of the languages themselves, to judge a text by another parser than the one that cut it.

Each takes sources and says which of them parse. A parser that this machine does not have is left out:
`ast` for Python, the TypeScript compiler (found by `NODE_PATH`), javac's parser, gofmt, rustc, ruby, php and bash.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

#: Prints the names of the files that do not parse.
_JAVA = """
import com.sun.source.util.JavacTask;
import java.nio.file.*;
import java.util.*;
import javax.tools.*;
public class Parses {
  public static void main(String[] names) throws Exception {
    var compiler = ToolProvider.getSystemJavaCompiler();
    var found = new DiagnosticCollector<JavaFileObject>();
    var files = compiler.getStandardFileManager(found, null, null);
    var paths = new ArrayList<Path>();
    for (String name : names) paths.add(Path.of(name));
    var units = files.getJavaFileObjectsFromPaths(paths);
    ((JavacTask) compiler.getTask(null, files, found, List.of("-proc:none", "-Xmaxerrs", "100000"), null, units))
        .parse();
    for (var told : found.getDiagnostics())
      if (told.getKind() == Diagnostic.Kind.ERROR && told.getSource() != null)
        System.out.println(told.getSource().getName());
  }
}
"""
_TYPESCRIPT = """
const ts = require("typescript"), fs = require("fs");
for (const name of process.argv.slice(2)) {
  const file = ts.createSourceFile(name, fs.readFileSync(name, "utf8"), ts.ScriptTarget.Latest, true);
  if (file.parseDiagnostics.length) console.log(name);
}
"""
_PROGRAMS = {
    "java": ("java", "Parses.java", _JAVA),
    "typescript": ("node", "parses.js", _TYPESCRIPT),
    "typescriptreact": ("node", "parses.js", _TYPESCRIPT),
    "javascript": ("node", "parses.js", _TYPESCRIPT),
}
_SUFFIXES = {
    "java": "java",
    "typescript": "ts",
    "typescriptreact": "tsx",
    "javascript": "js",
    "go": "go",
    "rust": "rs",
    "ruby": "rb",
    "php": "php",
    "shellscript": "sh",
}
#: One file at a time; the exit status says whether it parses.
_ONE_FILE = {
    "rust": ["rustc", "-Zunpretty=normal", "--edition=2021"],
    "ruby": ["ruby", "-c"],
    "php": ["php", "-l"],
    "shellscript": ["bash", "-n"],
}


def own_parser(language: str) -> Callable[[Sequence[str]], list[bool]] | None:
    """Return what says of sources whether they parse; None where this machine has no such parser."""
    if language == "python":
        return lambda sources: [_is_python(source) for source in sources]
    command = _PROGRAMS[language][0] if language in _PROGRAMS else _ONE_FILE.get(language, ["gofmt"])[0]
    if language not in _SUFFIXES or shutil.which(command) is None:
        return None
    return lambda sources: _by_command(language, sources)


def _is_python(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


def _by_command(language: str, sources: Sequence[str]) -> list[bool]:
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for number, source in enumerate(sources):
            path = Path(folder, f"n{number}.{_SUFFIXES[language]}")
            path.write_bytes(source.encode())
            names.append(str(path))
        if language in _ONE_FILE:
            return [_run([*_ONE_FILE[language], name]).returncode == 0 for name in names]
        if language in _PROGRAMS:
            command, name, program = _PROGRAMS[language]
            Path(folder, name).write_text(program, encoding="utf-8")
            ran = _run([command, str(Path(folder, name)), *names])
            if ran.returncode:
                raise RuntimeError(f"the parser of {language} does not run: {ran.stderr[-500:]}")
            broken = set(ran.stdout.split("\n"))
        else:
            told = _run(["gofmt", "-e", "-l", *names]).stderr
            broken = set(re.findall(r"^(.+?\.go):\d+:", told, re.MULTILINE))
        return [name not in broken for name in names]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1"}  # a stable rustc has the option, but asks for this
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
