//! Words by which recipients opt out, or come back: built in for six languages, and as a workspace changes
//! them.

use std::collections::BTreeMap;

use super::Meaning;

/// Words that, alone in a message or on a button, say that nothing more shall be sent: English, French,
/// Spanish, Portuguese, Arabic, Hindi.
const OUT: &[&str] = &[
    "stop",
    "stopall",
    "stop all",
    "unsubscribe",
    "cancel",
    "end",
    "quit",
    "opt out",
    "optout",
    "opt-out",
    "remove me",
    "arret",
    "arrêt",
    "arrêter",
    "arreter",
    "désabonner",
    "desabonner",
    "désinscrire",
    "desinscrire",
    "me désabonner",
    "alto",
    "parar",
    "baja",
    "cancelar",
    "no más",
    "no mas",
    "darme de baja",
    "anular",
    "detener",
    "pare",
    "sair",
    "remover",
    "descadastrar",
    "cancelar inscrição",
    "توقف",
    "أوقف",
    "اوقف",
    "إيقاف",
    "ايقاف",
    "إلغاء",
    "الغاء",
    "إلغاء الاشتراك",
    "الغاء الاشتراك",
    "قف",
    "रोकें",
    "रोको",
    "बंद",
    "बंद करें",
    "बंद करो",
    "सदस्यता समाप्त",
    "रुको",
];

/// Words that take it back.
const IN: &[&str] = &[
    "start",
    "unstop",
    "subscribe",
    "opt in",
    "optin",
    "opt-in",
    "yes subscribe",
    "reprendre",
    "commencer",
    "abonner",
    "m'abonner",
    "alta",
    "empezar",
    "suscribir",
    "suscribirme",
    "comenzar",
    "iniciar",
    "começar",
    "inscrever",
    "voltar",
    "ابدأ",
    "ابدا",
    "اشتراك",
    "بدء",
    "शुरू",
    "शुरू करें",
    "सदस्यता लें",
];

/// The words of a workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// By word, as [`normal`] writes it: what it means here, and nothing for one that is built in and does not
    /// count here.
    changes: BTreeMap<String, Option<Meaning>>,
}

impl Words {
    /// The built-in ones with these changes.
    pub fn changed(changes: impl IntoIterator<Item = (String, Option<Meaning>)>) -> Self {
        Self { changes: changes.into_iter().collect() }
    }

    /// The built-in ones.
    pub fn built_in() -> impl Iterator<Item = (&'static str, Meaning)> {
        let all = |words: &'static [&'static str], meaning| words.iter().map(move |word| (*word, meaning));
        all(OUT, Meaning::OptOut).chain(all(IN, Meaning::OptIn))
    }

    /// What a text means that a recipient wrote. Only a message that is nothing but such a word opts out:
    /// "stop by tomorrow" does not.
    pub fn meaning(&self, text: &str) -> Meaning {
        let word = normal(text);
        match self.changes.get(&word) {
            Some(changed) => changed.unwrap_or(Meaning::Reply),
            None if OUT.contains(&word.as_str()) => Meaning::OptOut,
            None if IN.contains(&word.as_str()) => Meaning::OptIn,
            None => Meaning::Reply,
        }
    }
}

/// A word as it is looked for: in lower case, with single spaces, and without what stands around it.
pub fn normal(text: &str) -> String {
    let word = text.trim_matches(|c: char| !c.is_alphanumeric() && !is_mark(c)).to_lowercase();
    word.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Vowel signs of Devanagari and Arabic belong to their word, though they are no letters.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{900}'..='\u{97f}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_opts_out_or_in_and_a_sentence_does_neither() {
        let words = Words::default();
        for out in ["STOP", " stop. ", "Stop!", "Arrêt", "BAJA", "Sair", "توقف", "إلغاء الاشتراك", "रोकें", "बंद  करो"]
        {
            assert_eq!(words.meaning(out), Meaning::OptOut, "{out}");
        }
        for back in ["Start", "ALTA", "ابدأ", "शुरू"] {
            assert_eq!(words.meaning(back), Meaning::OptIn, "{back}");
        }
        for neither in ["", "Stop by tomorrow", "Don't stop", "non stop", "ok", "👍"] {
            assert_eq!(words.meaning(neither), Meaning::Reply, "{neither}");
        }
        assert!(Words::built_in().all(|(word, meaning)| normal(word) == word && words.meaning(word) == meaning));
    }

    #[test]
    fn a_change_counts_more_than_what_is_built_in() {
        let changes = [("basta ya", Some(Meaning::OptOut)), ("end", None), ("start", Some(Meaning::OptOut))];
        let words = Words::changed(changes.map(|(word, meaning)| (word.to_owned(), meaning)));
        let said = ["¡Basta  YA!", "End", "START", "Stop"].map(|text| words.meaning(text));
        assert_eq!(said, [Meaning::OptOut, Meaning::Reply, Meaning::OptOut, Meaning::OptOut]);
    }
}
