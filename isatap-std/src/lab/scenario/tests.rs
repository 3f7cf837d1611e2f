//! Mistakes in scenarios: each told once, where it stands, and nothing that only follows from another.

use super::*;

fn told(text: &str) -> Vec<String> {
    let problems = Scenario::parse("", text).map_or_else(|problems| problems, |_| Vec::new());
    problems.iter().map(|problem| problem.to_string()[1..].to_owned()).collect()
}

/// Text behind a description and how each line of the answer begins.
const MISTAKES: &[(&str, &[&str])] = &[
    // A lost node is no mistake of those who name it.
    (
        "[[hsot]]\nname = \"A\"\nipv4 = [\"10.0.0.1\"]\n[[step]]\nunplug = \"A\"\n[[step]]\nplug = \"A\"\n",
        &["2: no table is named hsot: write [[host]]"],
    ),
    ("[[host]]\nname = \"A\"\n[[step]]\nunplug = \"A\"\n", &["2: missing field `ipv4`"]),
    ("[[host]]\nname = A\nipv4 = [\"10.0.0.1\"]\n[[step]]\nunplug = \"A\"\n", &["3:8: A has no quotes: write \"A\""]),
    (
        "[[natt]]\nname = \"N\"\nipv4 = \"192.0.2.1\"\nkind = \"cone\"\n[[teredo-client]]\nname = \"T\"\nipv4 = \"10.0.0.2\"\nserver = \"192.0.2.9\"\nnat = \"N\"\n",
        &["2: no table is named natt: write [[nat]]"],
    ),
    // Tables in tables.
    (
        "[[node]]\nname = \"n\"\nipv4 = []\n[[node.lan]]\nnme = \"dmz\"\naddress = \"2001:db8::1/64\"\n[[node.route]]\nprefix = \"::/0\"\nby = \"dmz\"\n",
        &["6:1: [[node.lan]] has no key nme: write name"],
    ),
    (
        "[[node]]\nname = \"a\"\nipv4 = []\n[[node]]\nnmae = \"b\"\nipv4 = [\"10.0.0.1\"]\n[[node.tunnel]]\nlocal = \"10.0.0.1\"\nremote = \"10.0.0.2\"\nkind = \"gre\"\n[[native]]\nname = \"c\"\nlan = \"l\"\n",
        &[
            "6:1: [[node]] has no key nmae: write name",
            "11:1: [[node.tunnel]] has no key kind: write [[node.isatap-router]], [[node.6rd]] or [[node.6to4]]",
            "12: missing field `address`",
        ],
    ),
    (
        "[[node]]\nname = \"n\"\nipv4 = []\n[[node.lan]]\nname = \"l\"\n[[node.route]]\nby = \"l\"\n",
        &["5: missing field `address`", "7: missing field `prefix`"],
    ),
    (
        "[[node]]\nname = \"n\"\nipv4 = []\n[node.lan]\nname = \"l\"\n",
        &["5: there can be several of them: write [[node.lan]]"],
    ),
    (
        "[[node]]\nname = \"n\"\nipv4 = []\n[[node.tunel]]\nlocal = \"10.0.0.1\"\n",
        &["5: no table is named node.tunel: write [[node.tunnel]]"],
    ),
    (
        "[[host]]\nname = \"A\"\nipv4 = []\n[[step]]\nping = { fro = \"A\", to = \"A\" , count = \"x\" }\n",
        &["6:10: ping has no key fro: write from", "6:40: count is a number "],
    ),
    (
        "[[host]]\nname = \"A\"\nipv4 = []\n[[step]]\nping = { to = \"A\" }\n[[step]]\nunplug = \"B\"\n",
        &["6: missing field `from` of ping", "7: no node is called \"B\": use one of A"],
    ),
    (
        "[[native]]\nname = \"c\"\nlan = \"l\"\naddress = \"2001:db8::1/64\"\nroutes = [{ prefix = \"::/0\", via = \"10.0.0.1\" }, { prefix = \"::/0\" }]\n",
        &["6: missing field `via` of routes", "6:36: 10.0.0.1: this is an IPv4 address"],
    ),
    (
        "[[router]]\nname = \"r\"\nipv4 = []\nprefixes = [\"2001:db8::/64\", \"2001:db8::1/64\", \"x\"]\n",
        &["5:30: 2001:db8::1/64: has bits behind its length: write 2001:db8::/64", "5:48: x: an IPv6 prefix was "],
    ),
    // Tables that there is one of.
    ("cloud = \"5ms\"\n", &["2:9: cloud is a table: write [cloud], and its keys in the lines below"]),
    ("[cloud]\nloss = 1\n[cloud]\nloss = 2\n", &["4:2: cloud is in line 2 already: write it once"]),
    ("[[cloud]]\nloss = 1\n", &["2: there is one of it: write [cloud]"]),
    ("[clowd]\nloss = 1\n", &["2: no table is named clowd: write [cloud]"]),
    ("[cloud]\nlatncy = \"5ms\"\n", &["3:1: [cloud] has no key latncy: write latency"]),
    // Types that only scenarios have.
    ("[cloud]\nloss = true\n", &["3:8: loss is a number, and true is not"]),
    ("[cloud]\nloss = \"10\"\n", &["3:8: loss is a number: write loss = 10"]),
    ("[[step]]\nping = 5\n", &["3:8: ping is a table: write ping = { KEY = VALUE }"]),
    // Nothing of the vocabulary of configuration files.
    ("[[teredo-client]]\nname = \"T\"\nipv4 = \"10.0.0.1\"\n", &["2: missing field `server`"]),
    ("[[ipip6]]\nname = \"x\"\n", &["2: no table is named ipip6: the tables are [cloud], [[name]], "]),
    ("[[host]]\nname = \"A\"\nipv4 = []\nuser = \"x\"\n", &["5:1: [[host]] has no key user: it can have "]),
    (
        "[[host]]\nname = \"A\"\nipv4 = []\nseed = 7\n",
        &["5:1: [[host]] has no key seed: write it in front of all tables"],
    ),
];

#[test]
fn each_mistake_is_told_once_at_its_place() {
    for (text, expected) in MISTAKES {
        let found = told(&format!("description = \"x\"\n{text}"));
        let all_begin = found.iter().zip(*expected).all(|(found, expected)| found.starts_with(expected));
        assert!(all_begin && found.len() == expected.len(), "{text}{found:#?}\nexpected {expected:#?}");
    }
}

/// The description has nothing in front of it and no table around it.
#[test]
fn a_missing_or_wrong_description_hides_nothing() {
    let step = "[[step]]\nat = \"1s\"\n";
    for (text, expected) in [
        (
            "description = 5\n",
            &["1:15: description is text: write description = \"5\"", "2: a step without a title and a deed"][..],
        ),
        (
            "descripton = \"x\"\n",
            &["1:1: descripton is not a key in front of the tables: write description", "2: a step without "],
        ),
        ("seed = 1\n", &["1: missing field `description`", "2: a step without a title and a deed"]),
        ("\n", &["1: missing field `description`", "2: a step without a title and a deed"]),
    ] {
        let found = told(&format!("{text}{step}"));
        let all_begin = found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
        assert!(all_begin && found.len() == expected.len(), "{text}{found:#?}\nexpected {expected:#?}");
    }
}

/// Words of `[direct-access]` are known beside any mistake, also one in that table.
#[test]
fn s64_40_no_word_is_a_mistake_beside_another() {
    const TEXT: &str = include_str!("direct-access.toml");
    const TABLE: &str = "ipv4 = \"131.107.0.2\"\norganisation = \"fd9c:30c:2da4::/48\"\n";
    let line = |text: &str, of: &str| 1 + text[..text.find(of).unwrap()].matches('\n').count();
    for (from, to, expected) in [
        ("kind = \"port-restricted\"", "kind = port-restricted", ":8: port-restricted has no quotes"),
        ("lan = \"edge\"", "lann = \"edge\"", ":1: [[teredo-server]] has no key lann: write lan"),
        ("ipv4 = \"131.107.0.2\"", "ipv4 = 131.107.0.2", ":8: 131.107.0.2 has no quotes"),
        ("ipv4 = \"131.107.0.2\"", "ipv5 = \"131.107.0.2\"", ":1: [direct-access] has no key ipv5: write ipv4"),
        ("2da4::/48", "2da4::/56", ":16: fd9c:30c:2da4::/56 is not an organisation prefix: write a /48"),
        ("[direct-access]", "[direct-acces]", ": no table is named direct-acces: write [direct-access]"),
    ] {
        let text = TEXT.replacen(from, to, 1);
        let expected = format!("{}{expected}", line(&text, to));
        let found = told(&text);
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{to}: {found:#?}\nexpected {expected}");
    }
    // What nothing follows from is a mistake where it is used.
    let found = told(&TEXT.replacen(TABLE, "ipv4 = \"131.107.0.2\"\n", 1));
    assert!(found.len() > 5 && found.iter().all(|told| told.contains('{')), "{found:#?}");
    // The column would be that of the derived prefix.
    let found = told(&TEXT.replacen("{ip-https}::1/64", "{ip-https}::1/640", 1));
    let line = line(TEXT, "address = [\"{ip-https}::1/64");
    assert!(
        found.len() == 1
            && found[0].starts_with(&format!("{line}: 2002:836b:2:1000::1/640: a prefix length is 0 to 128")),
        "{found:#?}"
    );
}
