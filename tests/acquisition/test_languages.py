import pytest

from echo_dagster.acquisition.languages import language_of


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("src/a.ts", "typescript"),
        ("src/a.D.TSX", "typescriptreact"),
        ("a.h", "cpp"),
        ("Dockerfile", "dockerfile"),
        ("build/CMakeLists.txt", "cmake"),
        ("notes.txt", "plaintext"),
        ("archive.py/readme", None),
        ("LICENSE", None),
        ("a.unheardof", None),
        ("py", None),
        (".gitignore", "ignore"),
    ],
)
def test_language_by_name(name, language):
    assert language_of(name) == language
