//! Workbooks that would take all memory are refused before they do.

use std::io::{Cursor, Write as _};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::{Scene, options};

const TYPES: &str =
    r#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>"#;
const PACKAGE: &str = r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
const BOOK: &str = r#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
const PARTS: &str = r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;

/// A part of a workbook: its name, and pieces of it, each as often as given.
type Part<'a> = (&'a str, &'a [(&'a str, usize)]);

fn workbook(parts: &[Part<'_>]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let frame: [Part<'_>; 4] = [
        ("[Content_Types].xml", &[(TYPES, 1)]),
        ("_rels/.rels", &[(PACKAGE, 1)]),
        ("xl/workbook.xml", &[(BOOK, 1)]),
        ("xl/_rels/workbook.xml.rels", &[(PARTS, 1)]),
    ];
    for (name, pieces) in frame.iter().chain(parts) {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        for (piece, times) in *pieces {
            let chunk = piece.repeat(1000.min(*times));
            for _ in 0..times / 1000 {
                zip.write_all(chunk.as_bytes()).unwrap();
            }
            zip.write_all(piece.repeat(times % 1000).as_bytes()).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

const SHEET: (&str, usize) =
    (r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>"#, 1);
const HEADER: (&str, usize) = (r#"<row r="1"><c r="A1" t="inlineStr"><is><t>phone</t></is></c></row>"#, 1);
const END: (&str, usize) = ("</sheetData></worksheet>", 1);

async fn check(bytes: &[u8], expect: &str) {
    let scene = Scene::new().await;
    let e = scene.refused(&scene.file("f.xlsx", bytes), options()).await;
    assert!(e.contains(expect), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frame_itself_is_a_workbook() {
    let row = (r#"<row r="2"><c r="A2"><v>213555123456</v></c></row>"#, 1);
    let bytes = workbook(&[("xl/worksheets/sheet1.xml", &[SHEET, HEADER, row, END])]);
    let scene = Scene::new().await;
    assert_eq!(scene.counts(&scene.file("f.xlsx", bytes), options()).await.imported, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_that_inflates_without_end() {
    let blanks = ("          ", 20_000_000 / 10);
    let row = format!("<row/>{}", " ".repeat(2000));
    let bytes = workbook(&[("xl/worksheets/sheet1.xml", &[SHEET, HEADER, (&row, 10_000), END])]);
    assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
    check(&bytes, "xl/worksheets/sheet1.xml inflates 250-fold and more: refused as a zip bomb").await;
    let bytes = workbook(&[("xl/styles.xml", &[("<a>", 1), blanks, ("</a>", 1)])]);
    check(&bytes, "xl/styles.xml").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_of_ten_megabytes() {
    let text = ("0123456789abcdefghijklmnopqrstuvwxyz", 300_000);
    let cell = (r#"<row r="2"><c r="B2" t="inlineStr"><is><t>"#, 1);
    let bytes =
        workbook(&[("xl/worksheets/sheet1.xml", &[SHEET, HEADER, cell, text, ("</t></is></c></row>", 1), END])]);
    check(&bytes, "cell B2 of xl/worksheets/sheet1.xml holds more than 1024 KiB (a cell may have 64 KiB): shorten it")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_beyond_what_memory_bears() {
    let texts: Vec<String> = (0..1000).map(|i| format!("<si><t>{i}{}</t></si>", "ab".repeat(70 + i % 7))).collect();
    let joined = texts.concat();
    let times = 140 * 1024 * 1024 / joined.len();
    let strings: Part<'_> = ("xl/sharedStrings.xml", &[("<sst>", 1), (&joined, times), ("</sst>", 1)]);
    let bytes = workbook(&[("xl/worksheets/sheet1.xml", &[SHEET, HEADER, END]), strings]);
    check(&bytes, "xl/sharedstrings.xml inflates").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_far_to_the_right() {
    let row = (r#"<row r="2"><c r="XFD2"><v>1</v></c></row>"#, 1);
    let bytes = workbook(&[("xl/worksheets/sheet1.xml", &[SHEET, HEADER, row, END])]);
    check(&bytes, "f.xlsx: row 2 has more than 1024 columns").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_bytes_that_repeat_a_cell_a_million_times() {
    let content = |repeat: &str| {
        format!(
            r#"<?xml version="1.0"?><office:document-content><office:body><office:spreadsheet><table:table table:name="S"><table:table-row><table:table-cell office:value-type="string"><text:p>phone</text:p></table:table-cell></table:table-row>{repeat}</table:table></office:spreadsheet></office:body></office:document-content>"#
        )
    };
    let ods = |content: &str| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let parts = [("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", content)];
        for (name, text) in parts {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let cell = |attributes: &str| {
        format!(r#"<table:table-cell office:value-type="float" office:value="213555123456" {attributes}/>"#)
    };
    let wide = cell(r#"table:number-columns-repeated="100000000""#);
    check(&ods(&content(&format!("<table:table-row>{wide}</table:table-row>"))), "more than 1024 columns").await;
    // Many equal rows are many rows; they take time and no memory. Empty ones take neither.
    let deep = format!(
        r#"<table:table-row table:number-rows-repeated="1000">{}</table:table-row><table:table-row table:number-rows-repeated="1047000"><table:table-cell/></table:table-row>"#,
        cell("")
    );
    let scene = Scene::new().await;
    let counts = scene.counts(&scene.file("f.ods", ods(&content(&deep))), options()).await;
    assert_eq!((counts.rows, counts.imported, counts.duplicates), (1000, 1, 999));
}
