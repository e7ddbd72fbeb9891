//! Templates as people write them, with what Go makes of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::{Element, Functions, Map, Template, Value};

/// A container as `inspect` gives it, in maps that know no types.
fn data() -> Value {
    let json = json!({
        "Name": "/web",
        "Id": "0123456789abcdef",
        "Running": true,
        "Paused": false,
        "Count": 3,
        "Zero": 0,
        "Ratio": 1.5,
        "Empty": "",
        "Nothing": null,
        "Env": ["A=1", "B=x y"],
        "NoEnv": [],
        "State": {"Status": "running", "Pid": 42},
        "Networks": {"back": {"IP": "10.0.0.2", "Aliases": ["a", "b"]}, "front": {"IP": "10.0.1.2", "Aliases": []}},
    });
    let Value::Map(mut map) = Value::from_json(&json) else {
        unreachable!("an object is a map")
    };
    let labels = [
        ("k".to_owned(), Value::from("v")),
        ("n".to_owned(), Value::from("2")),
    ];
    let labels = Map::new(BTreeMap::from(labels), Element::Text);
    map.entries.insert("Labels".into(), Value::Map(labels));
    Value::Map(map)
}

fn run(template: &str) -> Result<String, String> {
    Template::parse(template)
        .and_then(|template| template.execute(&data(), Functions::Values))
        .map_err(|error| error.to_string())
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn templates_give_what_go_gives() {
    let cases = [
        // Fields, text, trimming, comments.
        ("plain text", "plain text"),
        ("{{.Name}} is {{.State.Status}}", "/web is running"),
        ("a {{- .Count -}} b", "a3b"),
        ("a \n {{- /* a comment */ -}} \n b", "ab"),
        ("a{{/* a comment */}}b", "ab"),
        ("{{ .Count }}{{\t.Count\n}}", "33"),
        ("{{.Nothing}}|{{.Labels.nope}}", "<no value>|<no value>"),
        (
            "{{3}}{{-3}}{{1.5}}{{0x10}}{{1_000}}{{'a'}}{{1e3}}",
            "3-31.5161000971000",
        ),
        (r#"{{"a\tb\u00e9\x41"}}{{`raw \t`}}"#, "a\tbéAraw \\t"),
        ("{{true}}{{false}}", "truefalse"),
        ("{{.}}", "map["),
        (
            "{{.Env}} {{.NoEnv}} {{.Labels}} {{.Ratio}}",
            "[A=1 B=x y] [] map[k:v n:2] 1.5",
        ),
        // Variables.
        ("{{$x := .Count}}{{$x}}{{$x = 4}}{{$x}}", "34"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{$.Name}}{{with .State}}{{.Pid}}{{$.Count}}{{end}}", "/web423"),
        ("{{with $x := .State}}{{$x.Pid}}{{end}}", "42"),
        // Conditions.
        ("{{if .Running}}up{{else}}down{{end}}", "up"),
        ("{{if .Paused}}a{{else if .Running}}b{{else}}c{{end}}", "b"),
        (
            "{{if .Zero}}0{{end}}{{if .Empty}}e{{end}}{{if .NoEnv}}n{{end}}{{if .Nothing}}x{{end}}.",
            ".",
        ),
        ("{{with .Empty}}a{{else with .Name}}{{.}}{{else}}c{{end}}", "/web"),
        ("{{with .Empty}}a{{else}}{{.Name}}{{end}}", "/web"),
        // Loops.
        ("{{range .Env}}[{{.}}]{{end}}", "[A=1][B=x y]"),
        ("{{range $i, $v := .Env}}{{$i}}={{$v}};{{end}}", "0=A=1;1=B=x y;"),
        ("{{range $v := .Env}}{{$v}};{{end}}", "A=1;B=x y;"),
        (
            "{{range $k, $v := .Networks}}{{$k}}:{{$v.IP}} {{end}}",
            "back:10.0.0.2 front:10.0.1.2 ",
        ),
        ("{{range .NoEnv}}x{{else}}none{{end}}", "none"),
        (
            "{{range .Env}}{{break}}x{{end}}|{{range .Env}}{{.}}{{continue}}x{{end}}",
            "|A=1B=x y",
        ),
        (
            "{{range $i, $v := .Env}}{{if eq $i 1}}{{break}}{{end}}{{$v}}{{end}}",
            "A=1",
        ),
        ("{{range 3}}{{.}}{{end}}", "012"),
        (
            "{{range .Networks}}{{range .Aliases}}{{.}}{{else}}-{{end}}{{end}}",
            "ab-",
        ),
        // Logic.
        (
            "{{and .Running .Count}} {{or .Empty .Name}} {{not .Paused}}",
            "3 /web true",
        ),
        (
            "{{and .Empty (index .NoEnv 5)}}|{{or .Name (index .NoEnv 5)}}",
            "|/web",
        ),
        (
            "{{eq .Count 3}} {{eq .Count 1 2 3}} {{ne .Name \"x\"}} {{eq .Nothing nil}}",
            "true true true true",
        ),
        (
            "{{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 2}} {{lt \"a\" \"b\"}}",
            "true true false true true",
        ),
        (
            "{{if and .Running (eq .State.Status \"running\")}}ok{{end}}",
            "ok",
        ),
        // Indexing.
        (
            "{{index .Env 1}} {{index .Labels \"k\"}} [{{index .Labels \"nope\"}}]",
            "B=x y v []",
        ),
        (
            "{{index .Networks \"back\" \"IP\"}} {{(index .Networks \"back\").IP}}",
            "10.0.0.2 10.0.0.2",
        ),
        ("{{(index (index .Networks \"back\").Aliases 1)}}", "b"),
        ("{{len .Env}} {{len .Name}} {{len .Labels}}", "2 4 2"),
        (
            "{{slice .Id 0 12}} {{slice .Env 1}} {{slice .Id 12}}",
            "0123456789ab [B=x y] cdef",
        ),
        // Printing.
        ("{{print 1 2 \"a\" 3 4}}|{{println \"a\" 1}}", "1 2a3 4|a 1\n"),
        (
            r#"{{printf "%s %d %q %v %t %x %X" .Name 7 .Name .Env true "hi" 255}}"#,
            "/web 7 \"/web\" [A=1 B=x y] true 6869 FF",
        ),
        (
            r#"{{printf "%5d|%-5d|%05d|%+d|%5s|%-5s|%.2s|%.2f|%8.3f" 7 7 7 7 "ab" "ab" "abc" 1.5 1.5}}"#,
            "    7|7    |00007|+7|   ab|ab   |ab|1.50|   1.500",
        ),
        (
            r#"{{printf "%d %s" "a" 1}}|{{printf "%d"}}|{{printf "a" 1}}|{{printf "%z" 1}}"#,
            "%!d(string=a) %!s(int=1)|%!d(MISSING)|a%!(EXTRA int=1)|%!z(int=1)",
        ),
        (
            r#"{{printf "%%|%c|%U|%o|%b|%#x|%*d" 97 97 8 5 255 4 7}}"#,
            "%|a|U+0061|10|101|0xff|   7",
        ),
        (
            r#"{{printf "%q %s %v" .Env .Env nil}}"#,
            r#"["A=1" "B=x y"] [A=1 B=x y] <nil>"#,
        ),
        (
            r#"{{printf "%g %e %v" 1234567.0 1.5 1e21}}"#,
            "1.234567e+06 1.500000e+00 1e+21",
        ),
        // What container tools add.
        (
            "{{json .Env}} {{json .Labels}} {{json .Nothing}} {{json \"a<b\"}}",
            r#"["A=1","B=x y"] {"k":"v","n":"2"} null "a<b""#,
        ),
        (
            "{{join .Env \", \"}} {{split \"a:b\" \":\"}} {{upper .Name}} {{lower \"AB\"}}",
            "A=1, B=x y [a b] /WEB ab",
        ),
        (
            "{{title \"hello wide world\"}} [{{pad \"a\" 1 2}}] [{{pad \"\" 1 2}}] {{truncate .Id 4}}",
            "Hello Wide World [ a  ] [] 0123",
        ),
        // Pipelines.
        ("{{.Name | upper | printf \"%s!\"}}", "/WEB!"),
        ("{{.Id | printf \"%.4s\" | len}}", "4"),
        (
            "{{\"a\" | eq \"a\"}} {{.Env | len | printf \"%03d\"}}",
            "true 002",
        ),
        (
            "{{range $i, $e := (split \"a,b\" \",\")}}{{if $i}},{{end}}{{$e}}{{end}}",
            "a,b",
        ),
        ("{{len (slice .Env 1)}} {{(len .Env)}}", "1 2"),
        (
            "{{range .Networks}}{{println .IP}}{{end}}",
            "10.0.0.2\n10.0.1.2\n",
        ),
        ("{{html \"<a&b>\"}} {{urlquery \"a b\"}}", "&lt;a&amp;b&gt; a%20b"),
    ];
    for (template, expected) in cases {
        let got = run(template).unwrap_or_else(|error| panic!("{template}: {error}"));
        if expected == "map[" {
            assert!(got.starts_with(expected), "{template}: {got}");
        } else {
            assert_eq!(got, expected, "{template}");
        }
    }
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    let cases = [
        // When parsed.
        ("{{", "template: :1: unclosed action"),
        ("{{.Name", "template: :1: unclosed action"),
        ("{{/* a", "unclosed comment"),
        ("{{\"a}}", "unterminated quoted string"),
        ("{{`a}}", "unterminated raw quoted string"),
        ("{{}}", "missing value for command"),
        ("{{if}}a{{end}}", "missing value for if"),
        ("{{if .Name}}a", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if 1}}{{else}}{{else}}{{end}}", "expected end; found {{else}}"),
        ("{{.Name | }}", "missing value for command"),
        ("{{| .Name}}", "unexpected \"|\" in command"),
        ("{{nope .Name}}", "function \"nope\" not defined"),
        ("{{$x}}", "undefined variable \"$x\""),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "undefined variable \"$x\""),
        ("{{(.Name}}", "unclosed left paren"),
        ("{{.Name)}}", "unexpected right paren"),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{nil}}", "nil is not a command"),
        ("{{.Name ! }}", "unrecognized character in action: U+0021 '!'"),
        ("{{1x}}", "bad number syntax: \"1x\""),
        ("{{\"a\"\"b\"}}", "in operand"),
        ("line\n{{nope}}", "template: :2: function"),
        ("{{template \"x\"}}", "not supported"),
        // When executed.
        (
            "{{.Nope}}",
            "template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\"",
        ),
        (
            "a\nb {{.State.Nope}}",
            "template: :2:4: executing \"\" at <.State.Nope>: map has no entry",
        ),
        ("{{.Name.First}}", "can't evaluate field First in type string"),
        (
            "{{index .Env 2}}",
            "error calling index: reflect: slice index out of range",
        ),
        ("{{index .Env -1}}", "error calling index: index out of range: -1"),
        (
            "{{index .Env \"a\"}}",
            "cannot index slice/array with type string",
        ),
        ("{{index .Count 0}}", "can't index item of type int"),
        ("{{index .Nothing 0}}", "index of untyped nil"),
        (
            "{{eq .Count \"3\"}}",
            "error calling eq: incompatible types for comparison",
        ),
        (
            "{{lt true false}}",
            "error calling lt: invalid type for comparison",
        ),
        ("{{len .Count}}", "error calling len: len of type int"),
        ("{{slice .Id 99}}", "error calling slice: index out of range: 99"),
        ("{{not}}", "wrong number of args for not: want 1 got 0"),
        ("{{upper .Count}}", "expected string; got int"),
        ("{{3 4}}", "can't give argument to non-function 3"),
        ("{{.Name | 3}}", "can't give argument to non-function 3"),
        ("{{.State 1}}", "State is not a method but has arguments"),
        ("{{range .Name}}{{end}}", "range can't iterate over /web"),
        ("{{and}}", "wrong number of args for and"),
        (
            "{{.Networks.back.Aliases.First.Second}}",
            "at <.Networks.back.Alias...>",
        ),
    ];
    for (template, part) in cases {
        let error = run(template).expect_err(template);
        assert!(
            error.starts_with("template parsing error: template: "),
            "{template}: {error}"
        );
        assert!(error.contains(part), "{template}: {error}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let parens = format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000));
    let ifs = format!("{}{}", "{{if 1}}".repeat(5000), "{{end}}".repeat(5000));
    for template in [parens, ifs] {
        assert!(Template::parse(&template).is_err());
    }
}

#[test]
fn a_template_knows_which_fields_it_mentions() {
    let template =
        Template::parse("{{range .A}}{{with $.B}}{{(index .C 0).D | printf \"%s\"}}{{end}}{{end}}");
    let template = template.expect("parses");
    for field in ["A", "B", "C", "D"] {
        assert!(template.mentions(field), "{field}");
    }
    assert!(!template.mentions("E"));
}

proptest! {
    /// Whatever is typed, there is an answer or an error, and never a crash.
    #[test]
    fn any_text_is_parsed_or_refused(text in r#"[ -~\n\t{}.$|()"`é]{0,60}"#) {
        let _ = run(&text);
        let _ = run(&format!("{{{{{text}}}}}"));
    }

    /// Words of the language in any order.
    #[test]
    fn any_words_are_parsed_or_refused(words in prop::collection::vec(prop::sample::select(vec![
        "{{", "}}", "{{- ", " -}}", "if", "range", "with", "else", "end", "break", ".", ".Name", ".Env", "$x", ":=", "=",
        "|", "(", ")", "1", "\"a\"", "printf", "index", "len", "eq", "json", ",", "nil", "true", "$", "%s",
    ]), 0..24)) {
        let _ = run(&words.join(" "));
    }

    /// Text without braces prints itself.
    #[test]
    fn text_prints_itself(text in "[^{}]{0,40}") {
        prop_assert_eq!(run(&text), Ok(text));
    }

    /// A string constant is what it quotes.
    #[test]
    fn quoting_goes_there_and_back(text in "\\PC{0,20}") {
        let quoted = super::quoted(&text);
        prop_assert_eq!(run(&format!("{{{{{quoted}}}}}")), Ok(text));
        prop_assert_eq!(run(&format!("{{{{printf \"%q\" {quoted}}}}}")), Ok(quoted));
    }

    /// Formats never crash, whatever their verbs.
    #[test]
    fn any_verb_prints(format in "[%a-zA-Z0-9.+# *-]{0,16}") {
        let _ = run(&format!("{{{{printf `{format}` 1 .Name .Env 2.5 true nil .Labels}}}}"));
    }
}
