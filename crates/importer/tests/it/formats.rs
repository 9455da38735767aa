//! Every kind of file comes to the same contacts.

use std::io::Write as _;

use fanfare_importer::{Options, Quiet, Source, parse_encoding};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{LIST, Scene, fixture, options, shown};

async fn check(csv: &[u8], options: Options, expect: &[&str]) {
    let scene = Scene::new().await;
    let path = scene.file("f", csv);
    scene.counts(&path, options).await;
    assert_eq!(scene.lines().await, expect, "{}", String::from_utf8_lossy(csv));
}

const TWO: [&str; 2] = [r#"+213555123456||Zoé Ben|DZ||{"city":"Sétif"}"#, r#"+213555123457||أمين|DZ||{"city":"a;b"}"#];

#[tokio::test(flavor = "multi_thread")]
async fn delimiters_and_quotes_are_found_out() {
    for csv in [
        "phone,name,city\n0555123456,Zoé Ben,Sétif\n0555123457,أمين,a;b\n",
        "phone;name;city\r\n0555123456;Zoé Ben;Sétif\r\n0555123457;أمين;\"a;b\"\r\n",
        "phone\tname\tcity\n0555123456\tZoé Ben\tSétif\n0555123457\tأمين\ta;b",
        "phone|name|city\r0555123456|Zoé Ben|Sétif\r0555123457|أمين|a;b\r",
        "'phone','name','city'\n'0555123456','Zoé Ben','Sétif'\n'0555123457','أمين','a;b'\n",
        "sep=;\r\nphone;name;city\r\n0555123456;Zoé Ben;Sétif\r\n0555123457;أمين;\"a;b\"\r\n",
        "\u{feff}phone,name,city\n\n0555123456,Zoé Ben,Sétif\n\n0555123457,أمين,a;b\n\n",
        "\u{feff}sep=,\nphone,name,city\n0555123456,Zoé Ben,Sétif\n0555123457,أمين,a;b\n",
    ] {
        check(csv.as_bytes(), options(), &TWO).await;
    }
    let tabbed = Options { delimiter: Some(b':'), ..options() };
    check("phone:name:city\n0555123456:Zoé Ben:Sétif\n0555123457:أمين:a;b\n".as_bytes(), tabbed, &TWO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encodings_are_found_out() {
    let text = "phone,name,city\n0555123456,Zoé Ben,Sétif\n0555123457,أمين,a;b\n";
    let wide = |order: fn(u16) -> [u8; 2], mark: bool| {
        let mark = if mark { Some(0xfeff) } else { None };
        mark.into_iter().chain(text.encode_utf16()).flat_map(order).collect::<Vec<u8>>()
    };
    for (bytes, what) in [
        (wide(u16::to_le_bytes, true), "UTF-16 LE with mark"),
        (wide(u16::to_be_bytes, true), "UTF-16 BE with mark"),
        (wide(u16::to_le_bytes, false), "UTF-16 LE"),
        (wide(u16::to_be_bytes, false), "UTF-16 BE"),
    ] {
        eprintln!("{what}");
        check(&bytes, options(), &TWO).await;
    }
    let latin = b"phone,name\n0555123456,Zo\xe9 \x80\n";
    check(latin, options(), &["+213555123456||Zoé €|DZ||"]).await;
    let arabic = Options { encoding: Some(parse_encoding("windows-1256").unwrap()), ..options() };
    check(b"phone,name\n0555123456,\xc3\xe3\xed\xe4\n", arabic, &["+213555123456||أمين|DZ||"]).await;
    // A mark is right whatever the command line says.
    let wrong = Options { encoding: Some(parse_encoding("windows-1252").unwrap()), ..options() };
    check("\u{feff}phone,name\n0555123456,Zoé\n".as_bytes(), wrong, &["+213555123456||Zoé|DZ||"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_files_of_a_spreadsheet_program_are_read() {
    let scene = Scene::new().await;
    for (name, note) in [("windows-1252.csv", "un; deux\ntrois"), ("utf-16.csv", "un; deux\ntrois")] {
        scene.clear().await;
        let counts = scene.counts(&fixture(&format!("contacts/{name}")), options()).await;
        assert_eq!(shown(&counts), "2: 2 0 0 0 0, 0", "{name}");
        let contacts = scene.contacts().await;
        assert_eq!(contacts[0].name.as_deref(), Some("Zoé Müller"), "{name}");
        assert_eq!(contacts[0].attributes.as_ref().unwrap()["note"], note, "{name}");
        assert_eq!(contacts[1].attributes.as_ref().unwrap()["note"], "« oui » – 5 €", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workbooks_of_every_kind_come_to_the_same() {
    let scene = Scene::new().await;
    for name in ["clients.xlsx", "clients.xlsb", "clients.xls", "clients.ods"] {
        scene.clear().await;
        // The first sheet is empty, the header stands below a title, a row and a column are hidden.
        let summary = scene.import(&fixture(&format!("contacts/{name}")), options()).await.expect(name);
        assert_eq!(shown(&summary.counts), "5: 4 0 0 0 1, 0", "{name}");
        assert_eq!(summary.rejects[0].value, "12345", "{name}: a number stays in digits");
        let lines = scene.lines().await;
        let expect = [
            r#"+213555123456||Amina Benali|DZ||{"actif":true,"code":"00123","depuis":"2024-02-29","first_name":"Amina","last_name":"Benali","montant":1250.5,"note":"ligne 1\nligne 2"}"#,
            r#"+213555123457||Zoé Müller|DZ||{"actif":false,"code":"A-7","depuis":"2025-12-31T18:30:00","first_name":"Zoé","last_name":"Müller","montant":0}"#,
            r#"+213555123458||نور بن علي|DZ||{"first_name":"نور","last_name":"بن علي","montant":-3.25,"note":"espaces"}"#,
            r#"+33612345678||Claire O'Neil|FR||{"actif":true,"code":"42","depuis":"1999-01-01","first_name":"Claire","last_name":"O'Neil","montant":123456789012}"#,
        ];
        assert_eq!(lines, expect, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_is_chosen_by_name_or_number() {
    let scene = Scene::new().await;
    for name in ["clients.xlsx", "clients.xlsb", "clients.xls", "clients.ods"] {
        // The hidden sheet counts as the last one.
        for sheet in ["Archive", "archive", "3"] {
            scene.clear().await;
            let options = Options { sheet: Some(sheet.to_owned()), ..options() };
            scene.counts(&fixture(&format!("contacts/{name}")), options).await;
            assert_eq!(scene.lines().await, ["+213555999999|||DZ||"], "{name} {sheet}");
        }
        scene.clear().await;
        let options = Options { sheet: Some("Clinets".into()), ..options() };
        let e = scene.import(&fixture(&format!("contacts/{name}")), options).await.unwrap_err().to_string();
        assert!(e.ends_with(r#"there is no sheet "Clinets"; the workbook has "Vide", "Clients", "Archive""#), "{e}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_says_what_a_file_is_and_not_its_name() {
    let scene = Scene::new().await;
    let sheet = std::fs::read(fixture("contacts/clients.xlsx")).unwrap();
    assert_eq!(scene.counts(&scene.file("clients.csv", &sheet), options()).await.imported, 4);
    scene.clear().await;
    assert_eq!(scene.counts(&scene.file("old.xls", "phone\n0555123456\n"), options()).await.imported, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn gz_and_standard_input_are_files_too() {
    let scene = Scene::new().await;
    let zipped = |bytes: &[u8]| {
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    };
    let csv = b"phone,name\n0555123456,Ali\n";
    let sheet = std::fs::read(fixture("contacts/clients.xlsx")).unwrap();
    // Two members one after the other are one file.
    let two = [zipped(b"phone,name\n"), zipped(b"0555123456,Ali\n")].concat();
    for (bytes, imported) in [(csv.to_vec(), 1), (zipped(csv), 1), (two, 1), (zipped(&sheet), 4), (sheet, 4)] {
        scene.clear().await;
        assert_eq!(scene.counts(&scene.file("f.gz", &bytes), options()).await.imported, imported);
        scene.clear().await;
        let stream = Source::Stream(Box::new(std::io::Cursor::new(bytes)), "standard input".into());
        let summary = scene.import_watched(stream, options(), &mut Quiet).await.unwrap();
        assert_eq!(summary.counts.imported, imported);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_may_be_missing() {
    let csv = b"0555123456,Ali,a@b.dz\n0555123457,Zoe,\n";
    let expect = [r#"+213555123456|a@b.dz||DZ||{"column_2":"Ali"}"#, r#"+213555123457|||DZ||{"column_2":"Zoe"}"#];
    check(csv, options(), &expect).await;
    let forced = Options { no_header: true, map: vec![("name".into(), "2".into())], ..options() };
    check(csv, forced, &["+213555123456|a@b.dz|Ali|DZ||", "+213555123457||Zoe|DZ||"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixtures_come_to_what_their_readme_says() {
    let scene = Scene::new().await;
    let summary = scene.import(&fixture("contacts.csv"), options()).await.unwrap();
    assert_eq!(shown(&summary.counts), "57: 46 0 0 3 8, 2");
    let contacts = scene.contacts().await;
    assert_eq!(contacts.len(), 46);
    assert!(contacts.iter().filter(|c| c.address.starts_with('+')).count() == 45);
    let summary = scene.import(&fixture("contacts.xlsx"), options()).await.unwrap();
    assert_eq!(shown(&summary.counts), "32: 28 0 0 1 3, 1");
    // The promise to scripts.
    let json = serde_json::to_value(&summary).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    for key in
        ["rows", "imported", "updated", "unchanged", "duplicates", "rejected", "rejects", "seconds", "peak_rss_bytes"]
    {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
    let reject = json["rejects"][0].as_object().unwrap();
    assert_eq!(reject.keys().map(String::as_str).collect::<Vec<_>>(), ["column", "reason", "row", "value"]);
    assert_eq!(LIST, "people");
}
