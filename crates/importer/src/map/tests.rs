use super::*;

fn sample(text: &str) -> Vec<Record> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    reader.byte_records().map(|fields| Record::untyped(fields.unwrap())).collect()
}

/// The mapping of `text` in words: `skip: field=column … | attribute=column …`.
fn shown(text: &str, options: &Options) -> String {
    let region = Some("DZ".parse().unwrap());
    let mapping = match Mapping::find("f.csv", &sample(text), options, region, false) {
        Ok(mapping) => mapping,
        Err(e) => return e.to_string(),
    };
    let fields = Field::ALL.into_iter().filter_map(|f| Some(format!("{}={}", f.as_str(), mapping.column(f)? + 1)));
    let attributes = mapping.attributes.iter().map(|(at, key)| format!("{}={}", key.trim_matches(['"', ':']), at + 1));
    let (fields, attributes): (Vec<_>, Vec<_>) = (fields.collect(), attributes.collect());
    format!("{}: {} | {}", mapping.skip, fields.join(" "), attributes.join(" "))
}

fn check(text: &str, expect: &str) {
    assert_eq!(shown(text, &Options::default()), expect, "{text}");
}

fn mapped(map: &[(&str, &str)]) -> Options {
    Options { map: map.iter().map(|(f, c)| ((*f).to_owned(), (*c).to_owned())).collect(), ..Options::default() }
}

#[test]
fn well_known_names_are_mapped_and_the_rest_are_attributes() {
    check("Phone,Name,City\n0555123456,Ali,Oran\n", "1: phone=1 name=2 | city=3");
    check(
        "Prénom;Nom\nAli;Ben\n".replace(';', ",").replace("Nom", "Nom,Tél.").replace("Ben", "Ben,0555123456").as_str(),
        "1: phone=3 first_name=1 last_name=2 | first_name=1 last_name=2",
    );
    check("الهاتف,الاسم,المدينة\n0555123456,أمين,وهران\n", "1: phone=1 name=2 | المدينه=3".replace('ه', "ة").as_str());
    check(
        "Nombre,Apellidos,Correo electrónico\nA,B,a@b.dz\n",
        "1: email=3 first_name=1 last_name=2 | first_name=1 last_name=2",
    );
    check(
        "name,first name,last name,email\nx,y,z,a@b.dz\n",
        "1: email=4 name=1 first_name=2 last_name=3 | first_name=2 last_name=3",
    );
    // A mobile receives messages; the other phone stays as an attribute.
    check("Phone,Mobile,Phone\n021123456,0555123456,\n", "1: phone=2 | phone_2=1 phone_3=3");
    check("email,,opt-out,pays,langue\na@b.dz,1,no,DZ,fr\n", "1: email=1 country=4 language=5 opt_out=3 | column_2=2");
}

#[test]
fn a_header_may_be_missing_or_below_a_title() {
    check("0555123456,Ali,a@b.dz\n0666123456,Zoé,\n", "0: phone=1 email=3 | column_2=2");
    check("Clients 2026,\nPhone,Name\n0555123456,Ali\n", "2: phone=1 name=2 | ");
    check("Ali,0555123456\nmobile,0666123456\n", "0: phone=2 | column_1=1");
    let options = Options { no_header: true, ..Options::default() };
    assert_eq!(shown("phone,x\n0555123456,y\n0666123456,y\n", &options), "0: phone=1 | column_2=2");
}

#[test]
fn the_command_line_decides() {
    let text = "A,Phone,C\n0555123456,x,1\n";
    assert_eq!(shown(text, &mapped(&[("phone", "A"), ("size", "c")])), "1: phone=1 | phone_2=2 size=3");
    assert_eq!(shown(text, &mapped(&[("phone", "1")])), "1: phone=1 | phone_2=2 c=3");
    assert_eq!(
        shown(text, &mapped(&[("phone", "Phnoe")])),
        "f.csv: --map phone=Phnoe: there is no such column among \"A\", \"Phone\", \"C\"; did you mean Phone?"
    );
    assert_eq!(shown(text, &mapped(&[("phone", "A"), ("phone", "C")])), "--map phone=C: the field is mapped already");
    assert_eq!(
        shown(text, &mapped(&[("phone", "A"), ("x", "A")])),
        "--map x=A: the column is mapped already: a column holds one field"
    );
}

#[test]
fn a_slip_does_not_take_the_phones_away() {
    let text = "Phone,Mail,C\n0555123456,a@b.dz,1\n";
    assert_eq!(
        shown(text, &mapped(&[("phnoe", "Phone")])),
        "--map phnoe=Phone: there is no field \"phnoe\", and without --map the column is the phone; did you mean \
         phone?. An attribute of this column needs a name that is less like a field's"
    );
    for (field, column, meant) in [("emial", "mail", "email"), ("tel", "1", "phone"), ("phone_number", "1", "phone")] {
        let said = shown(text, &mapped(&[(field, column)]));
        assert!(said.contains(&format!("did you mean {meant}?")), "{said}");
    }
    assert!(shown("0555123456,x\n", &mapped(&[("phnoe", "1")])).contains("did you mean phone?"));
    // Nothing is taken away, or it is meant so.
    assert_eq!(shown(text, &mapped(&[("phnoe", "C")])), "1: phone=1 email=2 | phnoe=3");
    assert_eq!(shown(text, &mapped(&[("phone", "C"), ("phone_2", "Phone")])), "1: phone=3 email=2 | phone_2=1");
    assert_eq!(shown(text, &mapped(&[("contact_id", "Phone")])), "1: email=2 | contact_id=1 c=3");
}

#[test]
fn no_address_is_an_error_with_a_way_out() {
    assert_eq!(
        shown("id,my number,city\n1,0555123456,Oran\n", &Options::default()),
        "f.csv: no column has phones or e-mails: found \"id\", \"my number\", \"city\". Name the column, e.g. --map phone=id; \"my number\" looks like --map phone='my number'"
    );
}

#[test]
fn a_rejects_file_is_known_though_its_header_was_filled_up() {
    check("Phone,Name,_row,_column,_value,_reason,,\n0555123456,Ali,7,,x,y,z,\n", "1: phone=1 name=2 | ");
}

#[test]
fn a_rejects_file_is_read_like_the_file_it_came_from() {
    check("Phone,Name,_row,_column,_value,_reason\n0555123456,Ali,7,Phone,x,y\n", "1: phone=1 name=2 | ");
    let options = Options { no_header: true, ..Options::default() };
    assert_eq!(
        shown("column_1,column_2,_row,_column,_value,_reason\nAli,0555123456,7,column_2,x,y\n", &options),
        "1: phone=2 | column_1=1"
    );
}
