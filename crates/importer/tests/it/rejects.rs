//! The refused rows, as a file to put right.

use std::fs;

use fanfare_importer::{Options, Quiet, Source};

use crate::support::{Scene, options, shown};

fn into(scene: &Scene) -> Options {
    Options { rejects: Some(scene.path("rejects.csv")), ..options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_put_right_and_imported_by_the_same_command() {
    let scene = Scene::new().await;
    let path = scene.file("f.csv", "Tél;Nom;Ville\n0555123456;Ali;Oran\n05551;Zoé;\"a;b\"\n0555123458;Omar;x;y\n");
    let summary = scene.import(&path, into(&scene)).await.unwrap();
    assert_eq!(shown(&summary.counts), "3: 1 0 0 0 2, 0");
    assert_eq!((summary.rejects[0].row, summary.rejects[0].column.as_str()), (2, "Tél"));
    let rejects = fs::read_to_string(scene.path("rejects.csv")).unwrap();
    assert_eq!(
        rejects,
        "\u{feff}Tél;Nom;Ville;_row;_column;_value;_reason\n\
         05551;Zoé;\"a;b\";2;Tél;05551;too short for a phone number of DZ\n\
         0555123458;Omar;x;3;;y;4 fields where there are 3 columns: put a value that holds the delimiter in quotes;y\n"
    );
    // The same file is read and written.
    let fixed = rejects.replace("05551;Zoé", "0555123457;Zoé").replace("Omar;x", "Omar;\"x;y\"").replace(";y\n", "\n");
    let path = scene.file("rejects.csv", fixed);
    let summary = scene.import(&path, into(&scene)).await.unwrap();
    assert_eq!(shown(&summary.counts), "2: 2 0 0 0 0, 0");
    assert_eq!(
        scene.lines().await,
        [
            r#"+213555123456||Ali|DZ||{"ville":"Oran"}"#,
            r#"+213555123457||Zoé|DZ||{"ville":"a;b"}"#,
            r#"+213555123458||Omar|DZ||{"ville":"x;y"}"#
        ]
    );
    assert_eq!(
        fs::read_to_string(scene.path("rejects.csv")).unwrap(),
        "\u{feff}Tél;Nom;Ville;_row;_column;_value;_reason\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_too_many_fields_is_refused_until_it_is_put_right() {
    let scene = Scene::new().await;
    let path = scene.file("f.csv", "phone,name,city\n0555123456,Ali,Oran\n0555123457,Zoe,x,y,,z,\n");
    assert_eq!(shown(&scene.counts(&path, into(&scene)).await), "2: 1 0 0 0 1, 0");
    let rejects = fs::read_to_string(scene.path("rejects.csv")).unwrap();
    assert!(rejects.ends_with("quotes,y,,z\n"), "{rejects}");
    // As it is, and as a spreadsheet program saves it: every row as wide as the widest.
    let filled = rejects.replace("_reason\n", "_reason,,,\n");
    for (name, text) in [("rejects.csv", rejects), ("filled.csv", filled)] {
        let summary = scene.import(&scene.file(name, text), into(&scene)).await.unwrap();
        assert_eq!(shown(&summary.counts), "1: 0 0 0 0 1, 0", "{name}");
        assert_eq!(
            summary.rejects[0].reason,
            "6 fields where there are 3 columns: put a value that holds the delimiter in quotes \
             and take away what stands behind _reason"
        );
        assert!(fs::read_to_string(scene.path("rejects.csv")).unwrap().ends_with("_reason,y,,z\n"), "{name}");
    }
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet();
    for (row, line) in fs::read_to_string(scene.path("rejects.csv")).unwrap().lines().enumerate() {
        for (column, cell) in line.trim_start_matches('\u{feff}').split(',').enumerate() {
            sheet.write_string(row as u32, column as u16, cell).unwrap();
        }
    }
    book.save(scene.path("rejects.xlsx")).unwrap();
    assert_eq!(shown(&scene.counts(&scene.path("rejects.xlsx"), into(&scene)).await), "1: 0 0 0 0 1, 0");
    assert_eq!(scene.contacts().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rejects_do_not_replace_the_contacts() {
    let scene = Scene::new().await;
    let csv = "phone,name\n0555123456,Ali\nx,Zoe\n";
    let path = scene.file("rejects.csv", csv);
    let link = scene.path("link.csv");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        let e = scene.refused(path, into(&scene)).await;
        assert!(e.ends_with(".csv: the rejects would replace the contacts: name another file with --rejects"), "{e}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), csv);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_of_a_file_without_header_are_read_by_the_same_command() {
    let scene = Scene::new().await;
    let options = Options { no_header: true, map: vec![("name".into(), "1".into())], ..into(&scene) };
    let path = scene.file("f.csv", "Ali,0555123456\nZoe,05551\nOmar,0555123458\n");
    assert_eq!(shown(&scene.counts(&path, options.clone()).await), "3: 2 0 0 0 1, 0");
    let fixed = fs::read_to_string(scene.path("rejects.csv")).unwrap().replace("Zoe,05551", "Zoe,0555123457");
    let path = scene.file("fixed.csv", fixed);
    assert_eq!(shown(&scene.counts(&path, options).await), "1: 1 0 0 0 0, 0");
    assert_eq!(scene.contacts().await[1].name.as_deref(), Some("Zoe"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_wrong_bytes_are_refused_one_by_one() {
    let scene = Scene::new().await;
    let mut csv = "phone,name,note\n0555123456,Zoé,é\n0555123457,Élodie,à\n".as_bytes().to_vec();
    csv.extend_from_slice(b"0555123458,Zo\xe9,x\n0555123459,A\x00li,x\n");
    let summary = scene.import(&scene.file("f.csv", csv), into(&scene)).await.unwrap();
    assert_eq!(shown(&summary.counts), "4: 2 0 0 0 2, 0");
    let reasons: Vec<_> = summary.rejects.iter().map(|r| (r.row, r.column.as_str(), r.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (3, "name", "not UTF-8: enter it again, or name the file's encoding with --encoding"),
            (4, "name", "a zero byte, which no text has: remove it"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_lists_a_thousand_and_the_file_has_all() {
    let scene = Scene::new().await;
    let csv = format!("phone\n0555123456\n{}", "12345\n".repeat(2_500));
    let summary = scene.import(&scene.file("f.csv", csv), into(&scene)).await.unwrap();
    assert_eq!((summary.counts.rejected, summary.rejects.len(), summary.rejects_omitted), (2500, 1000, 1500));
    assert_eq!(fs::read_to_string(scene.path("rejects.csv")).unwrap().lines().count(), 2501);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejects_file_that_cannot_be_written_stops_the_import_before_it_begins() {
    let scene = Scene::new().await;
    let options = Options { rejects: Some(scene.path("no/such/folder.csv")), ..options() };
    let e = scene.refused(&scene.file("f.csv", "phone\n0555123456\n"), options).await;
    assert_eq!(e, "no/such/folder.csv: cannot write the rejects there: there is no such file: check the path");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_of_standard_input_and_workbooks_are_csv() {
    let scene = Scene::new().await;
    let path = crate::support::fixture("contacts/clients.xlsx");
    let stream = Source::Stream(Box::new(fs::File::open(path).unwrap()), "standard input".into());
    scene.import_watched(stream, into(&scene), &mut Quiet).await.unwrap();
    assert_eq!(
        fs::read_to_string(scene.path("rejects.csv")).unwrap(),
        "\u{feff}Téléphone,Prénom,Nom,Depuis,Montant,Actif,Code,Note,_row,_column,_value,_reason\n\
         12345,Trop,Court,,,,,,5,Téléphone,12345,too short for a phone number of DZ\n"
    );
}
