"""The grammars as data: which parser reads a language, and which of its nodes hold statements.

What does not live here: how the tables are read (`syntax.py`). A language without an entry goes by
indentation and brackets (`refinery/brackets.py`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grammar:
    """One tree-sitter grammar, and what a line break directly inside its nodes means.

    bodies: they hold statements; the break stands between two of them.
    compounds: bodies with a header of their own, as `def f` in Ruby; what stands in it is no statement.
    inner: bodies that begin with their first statement; the node around them has the opener and the closer.
    lists: they hold elements; the break stands between two of them. It counts only where the cursor was
    inside already: a list that C_N itself opens is part of its statement.
    texts: running text, which belongs to the node around it.
    leading: what belongs to the statement below it, as comments do.
    foreign: code that the grammar does not read.

    And what counts as an error beside what the parser says (`parse_errors.py`):

    first: what a file must begin with.
    faults: a query for mistakes that the grammar lets pass; each `@header` asks for a body, each `@try` for a
    clause that catches.
    is_indented, is_tagged: indentation or tags tell where a body ends.
    """

    package: str
    entry: str
    bodies: frozenset[str]
    compounds: frozenset[str] = frozenset()
    inner: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    leading: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    first: str | None = None
    faults: str | None = None
    is_indented: bool = False
    is_tagged: bool = False


def _nodes(names: str) -> frozenset[str]:
    return frozenset(names.split())


_TRY = "(try_statement) @try"
_PYTHON = Grammar(
    "tree_sitter_python",
    "language",
    bodies=_nodes("module block"),
    lists=_nodes("list dictionary set tuple argument_list parameters import_from_statement"),
    faults=_TRY,
    is_indented=True,
)


def _ecmascript(package: str, entry: str) -> Grammar:
    return Grammar(
        package,
        entry,
        bodies=_nodes("program statement_block class_body switch_body switch_case switch_default"),
        lists=_nodes(
            """
            object array arguments formal_parameters object_pattern array_pattern named_imports export_clause
            type_arguments type_parameters tuple_type object_type interface_body enum_body jsx_element
            jsx_opening_element jsx_self_closing_element
            """
        ),
        texts=_nodes("jsx_text"),
        leading=_nodes("decorator"),
        faults=_TRY,
    )


_TSX = _ecmascript("tree_sitter_typescript", "language_tsx")
_JAVASCRIPT = _ecmascript("tree_sitter_javascript", "language")
#: What no file has at its top level, where the grammar lets it pass.
_STATEMENTS = "(block) (if_statement) (for_statement) (expression_statement) (return_statement)"
_JAVA = Grammar(
    "tree_sitter_java",
    "language",
    bodies=_nodes(
        """
        program block class_body interface_body annotation_type_body enum_body_declarations constructor_body
        switch_block switch_block_statement_group module_body
        """
    ),
    lists=_nodes(
        """
        array_initializer argument_list formal_parameters enum_body annotation_argument_list
        element_value_array_initializer type_arguments type_parameters record_pattern_body
        """
    ),
    faults=f"(program [{_STATEMENTS} (while_statement) (try_statement)] @statement)",
)
_GO = Grammar(
    "tree_sitter_go",
    "language",
    bodies=_nodes(
        """
        source_file block statement_list field_declaration_list interface_type expression_case default_case
        type_case communication_case expression_switch_statement type_switch_statement select_statement
        """
    ),
    compounds=_nodes("expression_switch_statement type_switch_statement select_statement"),
    inner=_nodes("statement_list"),
    first="package_clause",
    faults=f"(source_file [{_STATEMENTS} (short_var_declaration) (assignment_statement)] @statement)",
    lists=_nodes(
        """
        import_spec_list const_declaration var_declaration var_spec_list type_declaration parameter_list
        argument_list literal_value type_parameter_list
        """
    ),
)
_RUST = Grammar(
    "tree_sitter_rust",
    "language",
    bodies=_nodes("source_file block declaration_list match_block"),
    lists=_nodes(
        """
        field_declaration_list ordered_field_declaration_list enum_variant_list field_initializer_list
        use_list arguments parameters array_expression tuple_expression tuple_pattern struct_pattern
        slice_pattern type_parameters type_arguments where_clause
        """
    ),
    leading=_nodes("attribute_item"),
    faults="""
        (_ (line_comment (outer_doc_comment_marker)) @orphan .)
        (_ (attribute_item) @orphan .)
        (source_file (let_declaration) @statement)
        (source_file (expression_statement [
          (block) (if_expression) (match_expression) (for_expression) (while_expression) (loop_expression)
          (call_expression) (identifier) (field_expression) (assignment_expression) (return_expression)
        ]) @statement)
    """,
    foreign=_nodes("token_tree token_tree_pattern macro_definition"),
)
_PREPROCESSOR = "preproc_if preproc_ifdef preproc_else preproc_elif preproc_elifdef"
_C_LISTS = "enumerator_list initializer_list argument_list parameter_list preproc_params"
_C = Grammar(
    "tree_sitter_c",
    "language",
    bodies=_nodes(
        f"""
        translation_unit compound_statement field_declaration_list declaration_list case_statement
        {_PREPROCESSOR}
        """
    ),
    compounds=_nodes(_PREPROCESSOR),
    lists=_nodes(_C_LISTS),
    leading=_nodes("attribute_declaration"),
)
_CPP = Grammar(
    "tree_sitter_cpp",
    "language",
    bodies=_C.bodies | _nodes("requirement_seq"),
    compounds=_C.compounds,
    lists=_C.lists | _nodes("template_argument_list template_parameter_list lambda_capture_specifier"),
    leading=_C.leading,
)
_CSHARP_PREPROCESSOR = "preproc_if preproc_else preproc_elif"
_CSHARP = Grammar(
    "tree_sitter_c_sharp",
    "language",
    bodies=_nodes(
        f"""
        compilation_unit declaration_list block switch_body switch_section accessor_list
        {_CSHARP_PREPROCESSOR}
        """
    ),
    compounds=_nodes(_CSHARP_PREPROCESSOR),
    lists=_nodes(
        """
        enum_member_declaration_list initializer_expression argument_list attribute_argument_list
        parameter_list bracketed_parameter_list bracketed_argument_list switch_expression tuple_expression
        anonymous_object_creation_expression collection_expression type_parameter_list type_argument_list
        property_pattern_clause
        """
    ),
    leading=_nodes("preproc_region"),
    faults=_TRY,
)
_RUBY_COMPOUNDS = """
    method singleton_method class singleton_class module do_block block begin begin_block end_block if unless
    while until for case case_match else elsif when in_clause rescue ensure do
"""
_RUBY = Grammar(
    "tree_sitter_ruby",
    "language",
    bodies=_nodes(f"program body_statement block_body then {_RUBY_COMPOUNDS}"),
    compounds=_nodes(_RUBY_COMPOUNDS),
    inner=_nodes("body_statement block_body then"),
    lists=_nodes("array hash argument_list method_parameters lambda_parameters string_array symbol_array"),
    faults="""
        ([(program (identifier) @word) (body_statement (identifier) @word) (then (identifier) @word)
          (block_body (identifier) @word) (begin (identifier) @word) (else (identifier) @word)
          (ensure (identifier) @word)]
         (#any-of? @word "end" "else" "elsif" "when" "rescue" "ensure" "then" "do"))
    """,
)
_PHP_BODIES = _nodes(
    """
    program compound_statement declaration_list switch_block case_statement default_statement colon_block
    enum_declaration_list property_hook_list text_interpolation
    """
)
_PHP_LISTS = _nodes(
    """
    array_creation_expression arguments formal_parameters match_block list_literal namespace_use_group
    """
)
_PHP = Grammar("tree_sitter_php", "language_php", bodies=_PHP_BODIES, lists=_PHP_LISTS, texts=_nodes("text"))
#: For a file whose head is not known, so that no `<?php` says where code begins.
_PHP_ONLY = Grammar("tree_sitter_php", "language_php_only", bodies=_PHP_BODIES, lists=_PHP_LISTS, faults=_TRY)
_KOTLIN = Grammar(
    "tree_sitter_kotlin",
    "language",
    bodies=_nodes("source_file block class_body enum_class_body lambda_literal when_expression"),
    compounds=_nodes("when_expression"),
    lists=_nodes(
        """
        class_parameters function_value_parameters value_arguments collection_literal type_arguments
        type_parameters
        """
    ),
    leading=_nodes("file_annotation"),
)
_BASH_COMPOUNDS = "if_statement elif_clause else_clause do_group case_statement case_item"
_BASH = Grammar(
    "tree_sitter_bash",
    "language",
    bodies=_nodes(f"program compound_statement subshell command_substitution {_BASH_COMPOUNDS}"),
    compounds=_nodes(_BASH_COMPOUNDS),
    lists=_nodes("array"),
    faults="""
        ((command_name (word) @word) (#any-of? @word "fi" "done" "esac" "else" "elif" "then" "do" "}"))
        (compound_statement "{" @header)
        (do_group "do" @header)
        (if_statement "then" @header)
        (elif_clause "then" @header)
        (else_clause "else" @header)
    """,
)
_SQL = Grammar(
    "tree_sitter_sql",
    "language",
    bodies=_nodes("program transaction block function_body"),
    compounds=_nodes("function_body"),
    lists=_nodes("column_definitions select_expression list insert"),
)
_HTML = Grammar(
    "tree_sitter_html",
    "language",
    bodies=_nodes("document element"),
    compounds=_nodes("element"),
    lists=_nodes("start_tag self_closing_tag"),
    texts=_nodes("text"),
    foreign=_nodes("raw_text"),
    is_tagged=True,
)
_CSS = Grammar(
    "tree_sitter_css",
    "language",
    bodies=_nodes("stylesheet block keyframe_block_list"),
    lists=_nodes("arguments"),
)
_JSON = Grammar("tree_sitter_json", "language", bodies=_nodes("document"), lists=_nodes("object array"))

#: By LSP language id. SCSS and Less are no CSS to its grammar.
_GRAMMARS = {
    "python": _PYTHON,
    "typescript": _ecmascript("tree_sitter_typescript", "language_typescript"),
    "typescriptreact": _TSX,
    "tsx": _TSX,
    "javascript": _JAVASCRIPT,
    "javascriptreact": _JAVASCRIPT,
    "jsx": _JAVASCRIPT,
    "java": _JAVA,
    "go": _GO,
    "rust": _RUST,
    "c": _C,
    "cpp": _CPP,
    "csharp": _CSHARP,
    "ruby": _RUBY,
    "php": _PHP,
    "kotlin": _KOTLIN,
    "shellscript": _BASH,
    "bash": _BASH,
    "sh": _BASH,
    "sql": _SQL,
    "html": _HTML,
    "css": _CSS,
    "json": _JSON,
    "jsonc": _JSON,
}


#: The languages that have a grammar, by LSP language id.
LANGUAGES = frozenset(_GRAMMARS)


def grammar_of(language: str, source: bytes) -> Grammar:
    """Return the grammar of one of `LANGUAGES`, for what is known of a file."""
    if language == "php" and b"<?" not in source and not source.lstrip().startswith(b"<"):
        return _PHP_ONLY
    return _GRAMMARS[language]
