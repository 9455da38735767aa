//! Bad files get a clear error, and nothing of them is written.

use fanfare_importer::{Options, parse_encoding};

use crate::support::{LIST, Scene, fixture, options};

async fn check(bytes: &[u8], expect: &str) {
    let scene = Scene::new().await;
    let path = scene.file("f.csv", bytes);
    assert_eq!(scene.refused(&path, options()).await, expect);
}

fn mapped(field: &str, column: &str) -> Options {
    Options { map: vec![(field.to_owned(), column.to_owned())], ..options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened() {
    let scene = Scene::new().await;
    assert_eq!(
        scene.refused(&scene.path("nowhere.csv"), options()).await,
        "nowhere.csv: cannot open it: there is no such file: check the path"
    );
    let folder = scene.path("folder");
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(scene.refused(&folder, options()).await, "folder: is a directory: name a CSV or Excel file in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_nothing() {
    let empty = "f.csv: the file is empty: expected a header and rows of contacts";
    check(b"", empty).await;
    check(b"\n \r\n", empty).await;
    check(b"\xef\xbb\xbf", empty).await;
    check(b"phone,name\n", "f.csv: there is a header (\"phone\", \"name\") and no row below it: nothing to import")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_table() {
    let not = |what: &str| {
        format!(
            "f.csv: this is {what}, not a table of contacts: save it as CSV (UTF-8) or as an Excel workbook (.xlsx)"
        )
    };
    check(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", &not("a PDF")).await;
    check(&[0, 1, 2, 3, 4, 5, 6, 7].repeat(500), &not("binary data")).await;
    check(b"<html><body><table><tr><td>phone</td></tr></table>", &not("an HTML page")).await;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("readme.txt", zip::write::SimpleFileOptions::default()).unwrap();
    check(&zip.finish().unwrap().into_inner(), &not("a ZIP archive")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_and_damaged_workbooks() {
    let scene = Scene::new().await;
    let e = scene.refused(&fixture("contacts/encrypted.xlsx"), options()).await;
    let expect = "encrypted.xlsx: the workbook is encrypted with a password: open it, remove the password, save it and import that";
    assert!(e.ends_with(expect), "{e}");
    // The library would read this one without most of its cells.
    let e = scene.refused(&fixture("contacts/short-cells.xlsb"), options()).await;
    assert!(e.contains("it has cells in the short form, which is not understood. Open it in a spreadsheet"), "{e}");
    for name in ["clients.xlsx", "clients.xlsb", "clients.xls", "clients.ods"] {
        let whole = std::fs::read(fixture(&format!("contacts/{name}"))).unwrap();
        for part in [whole.len() / 2, whole.len() - 30] {
            let path = scene.file(name, &whole[..part]);
            let e = scene.refused(&path, options()).await;
            assert!(e.contains("damaged") && e.contains(name), "{name}, {part} bytes: {e}");
        }
        // Bytes that are changed anywhere may be found or may not matter; they never break the program.
        for at in (600..whole.len()).step_by(whole.len() / 40) {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            let path = scene.file(name, &changed);
            let _ = scene.import(&path, options()).await;
        }
        scene.clear().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_csv_is_named_by_its_line() {
    check(
        b"phone,name\n0555123456,Ali\n0555123457,\"Zoe\n0555123458,Omar\n",
        "f.csv: line 3, column 2: a quote is opened here and never closed: close it, or write it twice if it belongs to the text",
    )
    .await;
    // The quote swallows a row and ends at the next one: found out all the same.
    check(
        b"phone,name\n0555123457,\"Zoe\n0555123458,\"Omar\"\n0555123459,Ali\n",
        "f.csv: line 2, column 2: a quote is opened here and never closed: close it, or write it twice if it belongs to the text",
    )
    .await;
    let mut long = b"phone,note\n0555123456,ok\n0555123457,".to_vec();
    long.resize(long.len() + 10 * 1024 * 1024, b'x');
    long.push(b'\n');
    check(
        &long,
        "f.csv: line 3, column 2: the row is longer than 1024 KiB (a cell may have 64 KiB): shorten it, or look for a quote that is not closed",
    )
    .await;
    let wide = format!("{}\n{}\n", vec!["c"; 10_000].join(","), vec!["1"; 10_000].join(","));
    check(
        wide.as_bytes(),
        "f.csv: row 1 has more than 1024 columns: export the columns you need, or check the delimiter with --delimiter",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_no_known_encoding() {
    // Arabic in Windows-1256: as Windows-1252 it would be gibberish.
    check(
        b"phone,name\n0555123456,\xc3\xe3\xed\xe4\n0555123457,\xe3\xcd\xe3\xcf\n",
        "f.csv: line 2: the text is not UTF-8, nor does it look like Windows-1252: save the file as CSV UTF-8, or name its encoding with --encoding",
    )
    .await;
    let scene = Scene::new().await;
    let path = scene.file("f.csv", b"phone,name\n0555123456,Ali\n0555123457,Zo\xe9\n");
    let utf_8 = Options { encoding: Some(parse_encoding("utf-8").unwrap()), ..options() };
    assert_eq!(
        scene.refused(&path, utf_8).await,
        "f.csv: line 3: the text is not UTF-8: save the file as CSV UTF-8, or name its encoding with --encoding"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_do_not_exist() {
    let scene = Scene::new().await;
    let path = scene.file("f.csv", "Client,Contact No.,City\nAli,0555123456,Oran\n");
    assert_eq!(
        scene.refused(&path, options()).await,
        "f.csv: no column has phones or e-mails: found \"Client\", \"Contact No.\", \"City\". Name the column, e.g. --map phone=Client; \"Contact No.\" looks like --map phone='Contact No.'"
    );
    assert_eq!(
        scene.refused(&path, mapped("phone", "Contact Num")).await,
        "f.csv: --map phone=Contact Num: there is no such column among \"Client\", \"Contact No.\", \"City\"; did you mean Contact No.?"
    );
    assert_eq!(scene.refused(&path, Options { list: " ".into(), ..options() }).await, "--list: the name is empty");
    assert_eq!(scene.counts(&path, mapped("phone", "contact no")).await.imported, 1);
    assert_eq!(scene.lines().await, [r#"+213555123456|||DZ||{"city":"Oran","client":"Ali"}"#]);
    assert_eq!(LIST, "people");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_off_gz() {
    use std::io::Write as _;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(crate::support::many(5000).as_bytes()).unwrap();
    let whole = gz.finish().unwrap();
    check(&whole[..whole.len() / 2], "f.csv: cannot read it: its compressed data is damaged or cut off").await;
}
