//! E-mail addresses (RFC 5321 §4.1.2, §4.5.3.1), as far as they can be told without sending.

/// Most bytes before the @.
const LOCAL_BYTES_MAX: usize = 64;
/// Most bytes of an address.
const ADDRESS_BYTES_MAX: usize = 254;
/// Most bytes between two dots of a domain.
const LABEL_BYTES_MAX: usize = 63;

/// Why a text is no e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// No @, or blanks.
    #[error("not an e-mail address")]
    NotAnAddress,
    /// More than one.
    #[error("several e-mail addresses in one cell: keep one")]
    Several,
    /// Something is wrong before the @.
    #[error("what stands before the @ of the e-mail address is not valid")]
    Local,
    /// Something is wrong after the @.
    #[error("the domain of the e-mail address is not valid")]
    Domain,
    /// Longer than any mail server takes.
    #[error("the e-mail address is too long")]
    TooLong,
}

/// The address in lower case; a domain with letters beyond ASCII in its ASCII form.
///
/// # Errors
/// Why it is none.
pub fn parse(text: &str) -> Result<String, EmailError> {
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    let text = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
    let (local, domain) = text.rsplit_once('@').ok_or(EmailError::NotAnAddress)?;
    if local.contains('@') {
        let several = text.split([',', ';', ' ', '/', '|', '\n']).filter(|part| part.contains('@')).count() > 1;
        return Err(if several { EmailError::Several } else { EmailError::NotAnAddress });
    }
    if text.contains(char::is_whitespace) {
        return Err(EmailError::NotAnAddress);
    }
    if local.len() > LOCAL_BYTES_MAX || text.len() > ADDRESS_BYTES_MAX {
        return Err(EmailError::TooLong);
    }
    if !is_local(local) {
        return Err(EmailError::Local);
    }
    let domain = match domain.is_ascii() {
        true => domain.to_ascii_lowercase(),
        false => idna::domain_to_ascii(domain).map_err(|_| EmailError::Domain)?,
    };
    if !is_domain(&domain) {
        return Err(EmailError::Domain);
    }
    let mut address = local.to_ascii_lowercase();
    address.push('@');
    address.push_str(&domain);
    if address.len() > ADDRESS_BYTES_MAX { Err(EmailError::TooLong) } else { Ok(address) }
}

fn is_local(local: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-.".contains(&c);
    !local.is_empty()
        && local.bytes().all(allowed)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match domain.rsplit_once('.') {
        Some((_, top)) => top.len() >= 2 && !top.bytes().all(|c| c.is_ascii_digit()) && domain.split('.').all(label),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_what_is_none() {
        for (text, expect) in [
            ("Ali.Ben+news@Example.COM", "ali.ben+news@example.com"),
            ("mailto:a@b.dz", "a@b.dz"),
            ("<a@b.dz>", "a@b.dz"),
            ("o'neil@mail.example.co.uk", "o'neil@mail.example.co.uk"),
            ("info@bücher.example", "info@xn--bcher-kva.example"),
            ("info@موقع.وزارة-الاتصالات.مصر", "info@xn--4gbrim.xn----ymcbaaajlc6dj7bxne2c.xn--wgbh1c"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expect), "{text}");
        }
        for (text, expect) in [
            ("", EmailError::NotAnAddress),
            ("ali", EmailError::NotAnAddress),
            ("ali at example.com", EmailError::NotAnAddress),
            ("ali ben@example.com", EmailError::NotAnAddress),
            ("ali@@example.com", EmailError::NotAnAddress),
            ("a@b.dz; c@d.dz", EmailError::Several),
            ("a@b.dz,c@d.dz", EmailError::Several),
            ("@example.com", EmailError::Local),
            (".ali@example.com", EmailError::Local),
            ("al..i@example.com", EmailError::Local),
            ("élodie@example.com", EmailError::Local),
            ("Ali<ali@example.com", EmailError::Local),
            ("ali@example", EmailError::Domain),
            ("ali@example.", EmailError::Domain),
            ("ali@.com", EmailError::Domain),
            ("ali@exa_mple.com", EmailError::Domain),
            ("ali@-example.com", EmailError::Domain),
            ("ali@127.0.0.1", EmailError::Domain),
            ("ali@example.c", EmailError::Domain),
        ] {
            assert_eq!(parse(text), Err(expect), "{text}");
        }
        assert_eq!(parse(&format!("{}@example.com", "a".repeat(65))), Err(EmailError::TooLong));
        assert_eq!(parse(&format!("a@{}com", "abcdefgh.".repeat(30))), Err(EmailError::TooLong));
    }
}
