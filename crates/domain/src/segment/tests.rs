use super::{Expr, Field, Segment, Value};

fn parsed(text: &str) -> Expr {
    text.parse::<Segment>().unwrap_or_else(|e| panic!("{text}: {e}")).expr().clone()
}

fn refused(text: &str, at: usize, problem: &str) {
    let error = text.parse::<Segment>().expect_err(text);
    assert_eq!((error.at, error.problem.contains(problem)), (at, true), "{text}: {error}");
}

#[test]
fn the_same_is_meant_however_it_is_written() {
    for (a, b) in [
        ("city = Oran", "city == 'Oran'"),
        ("city != Oran", "not city = Oran"),
        ("city <> Oran", "NOT (city = \"Oran\")"),
        ("a = 1 and b = 2 or c = 3", "(a = 1 and b = 2) or c = 3"),
        ("not a is known", "a is missing"),
        ("not not a is known", "a is not missing"),
        ("country = dz", "COUNTRY = DZ"),
        ("tag = VIP", "tags in (vip)"),
        ("consent = opted-in", "not consent = unknown"),
        ("sent within 2 weeks", "sent within 14d"),
        ("read in campaign spring", "read in spring"),
        ("city not in (a, b)", "not city in (a,b)"),
    ] {
        let strip = |e: Expr| {
            format!("{e:?}")
                .split("at: ")
                .map(|s| s.trim_start_matches(char::is_numeric).to_owned())
                .collect::<String>()
        };
        assert_eq!(strip(parsed(a)), strip(parsed(b)), "{a} / {b}");
    }
}

#[test]
fn values_are_what_they_look_like() {
    let Expr::OneOf(_, values) = parsed("a in (1, -2.50, \"3\", 1.2.3, +213555, 2026-03-01, 'it''s')") else {
        panic!()
    };
    let value = |text: &str, number| Value { text: text.to_owned(), number };
    let expect = [
        value("1", Some(1.0)),
        value("-2.50", Some(-2.5)),
        value("3", None),
        value("1.2.3", None),
        value("+213555", None),
        value("2026-03-01", None),
        value("it's", None),
    ];
    assert_eq!(values, expect);
    assert!(matches!(parsed("@read = 1"), Expr::OneOf(Field::Attribute(n), _) if n.name == "read" && n.at == 1));
    assert!(
        matches!(parsed("  @\"Full name\" is known"), Expr::Known(Field::Attribute(n)) if n.name == "Full name" && n.at == 3)
    );
}

#[test]
fn names_are_told_with_their_places() {
    let segment: Segment = "city = Oran and (read in spring or not plan in (a) or sent in \"Été 26\")".parse().unwrap();
    let told = |all: Vec<&super::Named>| all.iter().map(|n| format!("{} {}", n.name, n.at)).collect::<Vec<_>>();
    assert_eq!(told(segment.attributes()), ["city 1", "plan 40"]);
    assert_eq!(told(segment.campaigns()), ["spring 26", "Été 26 63"]);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, at, problem) in [
        ("", 1, "the end where name, phone"),
        ("city", 5, "the end where =, !="),
        ("city =", 7, "the end where a value"),
        ("city = Oran or", 15, "the end where name, phone"),
        ("city = Oran plan = a", 13, "\"plan\" where and, or, or the end"),
        ("(city = Oran", 13, "the \")\" of the parenthesis at character 1"),
        ("city = Oran)", 12, "never opened"),
        ("city = 'Oran", 8, "has no end"),
        ("été = ;", 7, "means nothing here"),
        ("city in Oran", 9, "values in parentheses"),
        ("city in ()", 10, "a value"),
        ("city in (a b)", 12, "\",\" or the \")\""),
        ("city not = a", 10, "in (…), contains"),
        ("city is Oran", 9, "known or missing"),
        ("city = and", 8, "the word itself is written \"and\" in quotes"),
        ("country = Algeria", 11, "two letters of ISO 3166"),
        ("consent = perhaps", 11, "yes or unknown"),
        ("tag = ' '", 7, "is no tag"),
        ("tag > a", 5, "=, !=, in"),
        ("read = 1", 6, "written with @"),
        ("read within soon", 13, "a whole number of hours"),
        ("read within 3", 13, "3 of what?"),
        ("read within 99999 weeks", 13, "are not between"),
        ("read within 0 days", 13, "are not between"),
        ("@ = 1", 1, "without the name"),
        ("a = 'x\0y'", 7, "zero byte"),
    ] {
        refused(text, at, problem);
    }
    refused(&"(".repeat(1000), 33, "nested deeper");
    refused(&"not ".repeat(500), 129, "nested deeper");
    refused(&"a = 1 or ".repeat(300), 1801, "more than 200 terms");
    refused(&"x".repeat(5000), 1, "at most");
}
