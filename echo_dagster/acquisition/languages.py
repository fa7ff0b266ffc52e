"""From a file's name to its LSP language identifier, for tools that record only the name."""

from pathlib import PurePosixPath

_BY_NAME = {
    "dockerfile": "dockerfile",
    "makefile": "makefile",
    "gnumakefile": "makefile",
    "cmakelists.txt": "cmake",
    "gemfile": "ruby",
    "rakefile": "ruby",
    ".prettierrc": "json",
    ".eslintrc": "json",
    "go.mod": "go.mod",
    ".gitignore": "ignore",
    ".dockerignore": "ignore",
    "tsconfig.json": "jsonc",
}

_BY_SUFFIX = {
    suffix: language
    for language, suffixes in {
        "bat": "bat cmd",
        "c": "c",
        "clojure": "clj cljs cljc",
        "cmake": "cmake",
        "cpp": "cpp cc cxx c++ h hpp hh hxx ipp inl",
        "csharp": "cs csx",
        "css": "css",
        "cuda-cpp": "cu cuh",
        "dart": "dart",
        "diff": "diff patch",
        "elixir": "ex exs",
        "erlang": "erl hrl",
        "fsharp": "fs fsi fsx",
        "go": "go",
        "graphql": "graphql gql",
        "groovy": "groovy gradle",
        "haskell": "hs lhs",
        "html": "html htm xhtml",
        "ini": "ini cfg conf",
        "java": "java",
        "javascript": "js mjs cjs",
        "javascriptreact": "jsx",
        "json": "json webmanifest",
        "jsonc": "jsonc code-workspace",
        "julia": "jl",
        "kotlin": "kt kts",
        "latex": "tex sty",
        "less": "less",
        "lua": "lua",
        "makefile": "mk",
        "markdown": "md markdown mdx",
        "objective-c": "m",
        "objective-cpp": "mm",
        "ocaml": "ml mli",
        "perl": "pl pm",
        "php": "php",
        "plaintext": "txt",
        "powershell": "ps1 psm1 psd1",
        "proto": "proto",
        "python": "py pyi pyw",
        "r": "r",
        "restructuredtext": "rst",
        "ruby": "rb rake gemspec",
        "rust": "rs",
        "scala": "scala sbt",
        "scss": "scss",
        "shellscript": "sh bash zsh ksh",
        "solidity": "sol",
        "sql": "sql",
        "svelte": "svelte",
        "swift": "swift",
        "terraform": "tf tfvars",
        "toml": "toml",
        "typescript": "ts mts cts",
        "typescriptreact": "tsx",
        "vb": "vb",
        "vue": "vue",
        "xml": "xml xsd xsl svg plist csproj",
        "yaml": "yaml yml",
        "zig": "zig",
    }.items()
    for suffix in suffixes.split()
}


def language_of(path: str) -> str | None:
    """Return the language identifier of a file by its name, or None where the name does not tell."""
    name = PurePosixPath(path).name.lower()
    return _BY_NAME.get(name) or _BY_SUFFIX.get(name.rpartition(".")[2] if "." in name else "")
