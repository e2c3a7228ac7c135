//! The heuristic counter beside `o200k_base`: with the feature `tiktoken`, by asking it, and without
//! by the counts that it gave.

use super::*;

/// A language, the tokens of `o200k_base`, and some prose.
const PROSE: [(&str, u32, &str); 22] = [
    (
        "en",
        120,
        "The harbour was quiet when we arrived just before sunrise. Fishermen were unloading crates of mackerel, and a radio somewhere played an old song that nobody listened to. My grandfather used to say that a town shows its true face at five in the morning, when the tourists are asleep and the bakers have already finished half of their work. We bought two warm rolls, sat down on the stone steps and watched the first ferry leave for the islands. By the time the sun had risen above the lighthouse, the market was full of people, and the smell of coffee drifted through every street.",
    ),
    (
        "de",
        147,
        "Der Hafen lag still, als wir kurz vor Sonnenaufgang ankamen. Fischer luden Kisten mit Makrelen aus, und irgendwo spielte ein Radio ein altes Lied, dem niemand zuhörte. Mein Großvater pflegte zu sagen, dass eine Stadt ihr wahres Gesicht um fünf Uhr morgens zeigt, wenn die Urlauber schlafen und die Bäcker schon die Hälfte ihrer Arbeit hinter sich haben. Wir kauften zwei warme Brötchen, setzten uns auf die Steinstufen und sahen zu, wie die erste Fähre zu den Inseln ablegte. Als die Sonne über dem Leuchtturm stand, war der Marktplatz voller Menschen, und der Geruch von Kaffee zog durch alle Straßen.",
    ),
    (
        "fr",
        118,
        "Le port était calme lorsque nous sommes arrivés juste avant le lever du soleil. Des pêcheurs déchargeaient des caisses de maquereaux, et quelque part une radio jouait une vieille chanson que personne n'écoutait. Mon grand-père disait qu'une ville montre son vrai visage à cinq heures du matin, quand les touristes dorment et que les boulangers ont déjà fini la moitié de leur travail. Nous avons acheté deux petits pains chauds, nous nous sommes assis sur les marches de pierre et nous avons regardé le premier ferry partir vers les îles.",
    ),
    (
        "es",
        109,
        "El puerto estaba tranquilo cuando llegamos poco antes del amanecer. Los pescadores descargaban cajas de caballa y en alguna parte una radio tocaba una vieja canción que nadie escuchaba. Mi abuelo solía decir que una ciudad muestra su verdadero rostro a las cinco de la mañana, cuando los turistas duermen y los panaderos ya han terminado la mitad de su trabajo. Compramos dos panecillos calientes, nos sentamos en los escalones de piedra y miramos cómo el primer transbordador salía hacia las islas.",
    ),
    (
        "it",
        116,
        "Il porto era silenzioso quando arrivammo poco prima dell'alba. I pescatori scaricavano casse di sgombri e da qualche parte una radio suonava una vecchia canzone che nessuno ascoltava. Mio nonno diceva che una città mostra il suo vero volto alle cinque del mattino, quando i turisti dormono e i fornai hanno già finito metà del loro lavoro. Comprammo due panini caldi, ci sedemmo sui gradini di pietra e guardammo il primo traghetto partire per le isole.",
    ),
    (
        "pt",
        108,
        "O porto estava calmo quando chegamos pouco antes do nascer do sol. Os pescadores descarregavam caixas de cavala e em algum lugar um rádio tocava uma velha canção que ninguém ouvia. Meu avô costumava dizer que uma cidade mostra o seu verdadeiro rosto às cinco da manhã, quando os turistas dormem e os padeiros já terminaram metade do seu trabalho. Compramos dois pãezinhos quentes, sentamos nos degraus de pedra e vimos a primeira balsa partir para as ilhas.",
    ),
    (
        "nl",
        116,
        "De haven was stil toen we vlak voor zonsopgang aankwamen. Vissers losten kisten met makreel en ergens speelde een radio een oud lied waar niemand naar luisterde. Mijn grootvader zei altijd dat een stad haar ware gezicht om vijf uur 's ochtends laat zien, wanneer de toeristen slapen en de bakkers al de helft van hun werk achter de rug hebben. We kochten twee warme broodjes, gingen op de stenen trappen zitten en keken hoe de eerste veerboot naar de eilanden vertrok.",
    ),
    (
        "pl",
        147,
        "Port był cichy, kiedy dotarliśmy tam tuż przed wschodem słońca. Rybacy wyładowywali skrzynki z makrelą, a gdzieś radio grało starą piosenkę, której nikt nie słuchał. Mój dziadek mawiał, że miasto pokazuje swoją prawdziwą twarz o piątej rano, kiedy turyści śpią, a piekarze skończyli już połowę swojej pracy. Kupiliśmy dwie ciepłe bułki, usiedliśmy na kamiennych schodach i patrzyliśmy, jak pierwszy prom odpływa w stronę wysp.",
    ),
    (
        "tr",
        127,
        "Gün doğumundan hemen önce vardığımızda liman sessizdi. Balıkçılar uskumru kasalarını boşaltıyor, bir yerlerde bir radyo kimsenin dinlemediği eski bir şarkı çalıyordu. Dedem, bir şehrin gerçek yüzünü sabahın beşinde, turistler uyurken ve fırıncılar işlerinin yarısını çoktan bitirmişken gösterdiğini söylerdi. İki sıcak çörek aldık, taş basamaklara oturduk ve ilk vapurun adalara doğru yola çıkışını izledik.",
    ),
    (
        "ru",
        135,
        "Гавань была тиха, когда мы приехали незадолго до восхода солнца. Рыбаки выгружали ящики со скумбрией, и где-то радио играло старую песню, которую никто не слушал. Мой дедушка говорил, что город показывает своё настоящее лицо в пять часов утра, когда туристы спят, а пекари уже закончили половину своей работы. Мы купили две тёплые булочки, сели на каменные ступени и смотрели, как первый паром уходит к островам. Когда солнце поднялось над маяком, рынок был полон людей.",
    ),
    (
        "uk",
        152,
        "Гавань була тиха, коли ми приїхали незадовго до сходу сонця. Рибалки вивантажували ящики зі скумбрією, і десь радіо грало стару пісню, яку ніхто не слухав. Мій дідусь казав, що місто показує своє справжнє обличчя о п'ятій годині ранку, коли туристи сплять, а пекарі вже закінчили половину своєї роботи. Ми купили дві теплі булочки, сіли на кам'яні сходи й дивилися, як перший пором відходить до островів.",
    ),
    (
        "el",
        164,
        "Το λιμάνι ήταν ήσυχο όταν φτάσαμε λίγο πριν από την ανατολή του ήλιου. Ψαράδες ξεφόρτωναν κιβώτια με σκουμπριά και κάπου ένα ραδιόφωνο έπαιζε ένα παλιό τραγούδι που κανείς δεν άκουγε. Ο παππούς μου έλεγε ότι μια πόλη δείχνει το αληθινό της πρόσωπο στις πέντε το πρωί, όταν οι τουρίστες κοιμούνται και οι φουρνάρηδες έχουν ήδη τελειώσει τη μισή δουλειά τους. Αγοράσαμε δύο ζεστά ψωμάκια και καθίσαμε στα πέτρινα σκαλιά.",
    ),
    (
        "ar",
        116,
        "كان الميناء هادئا عندما وصلنا قبيل شروق الشمس. كان الصيادون يفرغون صناديق السمك، وفي مكان ما كان مذياع يعزف أغنية قديمة لا يستمع إليها أحد. كان جدي يقول إن المدينة تكشف عن وجهها الحقيقي في الخامسة صباحا، عندما يكون السياح نائمين والخبازون قد أنهوا نصف عملهم. اشترينا رغيفين ساخنين وجلسنا على الدرجات الحجرية نشاهد العبارة الأولى وهي تغادر نحو الجزر.",
    ),
    (
        "he",
        120,
        "הנמל היה שקט כשהגענו רגע לפני הזריחה. דייגים פרקו ארגזים של מקרל, ואי שם רדיו ניגן שיר ישן שאיש לא הקשיב לו. סבא שלי נהג לומר שעיר מראה את פניה האמיתיים בחמש בבוקר, כשהתיירים ישנים והאופים כבר סיימו חצי מעבודתם. קנינו שתי לחמניות חמות, התיישבנו על מדרגות האבן וצפינו במעבורת הראשונה יוצאת אל האיים.",
    ),
    (
        "hi",
        132,
        "जब हम सूर्योदय से ठीक पहले पहुँचे तो बंदरगाह शांत था। मछुआरे मछलियों के बक्से उतार रहे थे, और कहीं एक रेडियो पर कोई पुराना गीत बज रहा था जिसे कोई नहीं सुन रहा था। मेरे दादाजी कहा करते थे कि शहर अपना असली चेहरा सुबह पाँच बजे दिखाता है, जब पर्यटक सो रहे होते हैं और नानबाई अपना आधा काम पूरा कर चुके होते हैं। हमने दो गरम रोटियाँ खरीदीं, पत्थर की सीढ़ियों पर बैठ गए और पहली नाव को द्वीपों की ओर जाते देखा।",
    ),
    (
        "th",
        163,
        "ท่าเรือเงียบสงบเมื่อเรามาถึงก่อนพระอาทิตย์ขึ้นเพียงเล็กน้อย ชาวประมงกำลังขนลังปลาลงจากเรือ และที่ไหนสักแห่งวิทยุกำลังเล่นเพลงเก่าที่ไม่มีใครฟัง ปู่ของฉันเคยพูดว่าเมืองจะเผยใบหน้าที่แท้จริงในเวลาตีห้า เมื่อนักท่องเที่ยวยังหลับอยู่และคนทำขนมปังทำงานเสร็จไปแล้วครึ่งหนึ่ง เราซื้อขนมปังอุ่นๆ สองก้อน นั่งลงบนบันไดหิน และมองดูเรือข้ามฟากลำแรกออกเดินทางไปยังเกาะ",
    ),
    (
        "zh",
        146,
        "我们在日出前不久到达时，港口很安静。渔民们正在卸下一箱箱鲭鱼，不知什么地方有一台收音机在播放一首没有人听的老歌。我的祖父常说，一座城市在清晨五点会露出它真正的面貌，那时游客还在睡觉，面包师已经完成了一半的工作。我们买了两个热面包，坐在石阶上，看着第一班渡轮驶向群岛。当太阳升到灯塔上方时，市场上已经挤满了人，咖啡的香味飘过每一条街道。",
    ),
    (
        "ja",
        151,
        "日の出の少し前に着いたとき、港は静かだった。漁師たちはサバの箱を降ろしており、どこかでラジオが誰も聞いていない古い歌を流していた。祖父はよく、町は朝の五時に本当の顔を見せるのだと言っていた。観光客はまだ眠っていて、パン屋はもう仕事の半分を終えている時間だ。私たちは温かいパンを二つ買い、石段に腰を下ろして、最初のフェリーが島へ向かって出ていくのを眺めた。",
    ),
    (
        "ko",
        134,
        "해가 뜨기 직전에 우리가 도착했을 때 항구는 조용했다. 어부들은 고등어 상자를 내리고 있었고, 어디선가 라디오에서 아무도 듣지 않는 오래된 노래가 흘러나왔다. 할아버지는 도시가 새벽 다섯 시에 진짜 얼굴을 보여 준다고 말씀하시곤 했다. 관광객은 아직 자고 있고 빵집 주인은 벌써 일을 절반이나 끝낸 시간이다. 우리는 따뜻한 빵 두 개를 사서 돌계단에 앉아 첫 배가 섬으로 떠나는 것을 바라보았다.",
    ),
    (
        "vi",
        127,
        "Bến cảng yên tĩnh khi chúng tôi đến ngay trước lúc mặt trời mọc. Ngư dân đang dỡ những thùng cá thu, và đâu đó một chiếc radio phát một bài hát cũ mà chẳng ai nghe. Ông tôi thường nói rằng một thành phố để lộ khuôn mặt thật của nó vào lúc năm giờ sáng, khi khách du lịch còn ngủ và những người thợ làm bánh đã xong một nửa công việc. Chúng tôi mua hai ổ bánh mì nóng, ngồi xuống bậc đá và nhìn chuyến phà đầu tiên rời bến ra đảo.",
    ),
    (
        "sv",
        118,
        "Hamnen var stilla när vi kom fram strax före soluppgången. Fiskare lossade lådor med makrill och någonstans spelade en radio en gammal sång som ingen lyssnade på. Min farfar brukade säga att en stad visar sitt rätta ansikte klockan fem på morgonen, när turisterna sover och bagarna redan har gjort hälften av sitt arbete. Vi köpte två varma bullar, satte oss på stentrappan och såg den första färjan ge sig av mot öarna.",
    ),
    (
        "id",
        121,
        "Pelabuhan itu sepi ketika kami tiba sesaat sebelum matahari terbit. Para nelayan menurunkan peti-peti ikan kembung, dan di suatu tempat sebuah radio memutar lagu lama yang tidak didengarkan siapa pun. Kakek saya biasa berkata bahwa sebuah kota menunjukkan wajah aslinya pada pukul lima pagi, ketika para wisatawan masih tidur dan para tukang roti sudah menyelesaikan separuh pekerjaan mereka. Kami membeli dua roti hangat, duduk di tangga batu dan menyaksikan feri pertama berangkat menuju pulau-pulau.",
    ),
];

fn count(text: &str) -> u32 {
    HeuristicCounter.count(text)
}

fn ratio(text: &str, tokens: u32) -> f64 {
    f64::from(count(text)) / f64::from(tokens)
}

#[test]
fn m5_prose_is_counted_within_three_tenths() {
    for (language, tokens, text) in PROSE {
        let ratio = ratio(text, tokens);
        assert!((0.9..=1.3).contains(&ratio), "{language}: {ratio:.2}");
    }
}

#[test]
fn small_texts_count_as_a_reader_would() {
    for (text, tokens) in [
        ("", 0),
        ("a cat", 2),
        ("hello, world!", 5),
        ("don't", 2),
        ("1234567", 3),
        ("\u{6771}\u{4eac}", 2),
        ("\n", 1),
        ("a  b", 3),
    ] {
        assert_eq!(count(text), tokens, "{text:?}");
    }
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| letters[self.below(letters.len())]).collect()
    }

    fn range(&mut self, first: u32, last: u32, length: usize) -> String {
        let span = usize::try_from(last - first + 1).unwrap();
        (0..length)
            .filter_map(|_| char::from_u32(first + u32::try_from(self.below(span)).unwrap()))
            .collect()
    }
}

const HEX: &str = "0123456789abcdef";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Texts that are no prose.
fn others() -> Vec<(&'static str, String)> {
    let mut dice = Dice(7);
    let uuid = |dice: &mut Dice| [8, 4, 4, 4, 12].map(|n| dice.text(HEX, n)).join("-");
    let marks = |dice: &mut Dice, letter: char| {
        let many = 3 + dice.below(9);
        format!("{letter}{}", dice.range(0x300, 0x36f, many))
    };
    let row = |dice: &mut Dice, n: usize| {
        format!(
            r#"{{"id":{n},"name":"user_{n}","score":0.{},"tags":["a","b"],"at":"2026-11-22T20:31:00.000Z"}}"#,
            dice.text("0123456789", 15)
        )
    };
    let url = |dice: &mut Dice| {
        format!(
            "https://www.example.com/path/{}/index.php?utm_source=mail&id={}#part",
            dice.text(HEX, 8),
            dice.below(99_999)
        )
    };
    let minified = "!function(e,t){\"object\"==typeof exports?t(exports):(e=e||self).d={}}(this,function(e){\"use strict\";function t(e,t){return e<t?-1:e>t?1:0}var n=[],r={};for(;o<i;)if(null!=(n=e[o])&&n>=n)r=n});";
    let code = include_str!("heuristic.rs");
    vec![
        ("base64", dice.text(&format!("{LETTERS}+/"), 1_200)),
        ("base64url", dice.text(&format!("{LETTERS}-_"), 1_200)),
        ("hex", dice.text(HEX, 1_000)),
        ("HEX", dice.text(&HEX.to_uppercase(), 1_000)),
        ("hex bytes", (0..200).map(|_| dice.text(HEX, 2) + " ").collect()),
        ("UUIDs", (0..40).map(|_| uuid(&mut dice) + "\n").collect()),
        ("digits", dice.text("0123456789", 900)),
        ("numbers", (0..200).map(|n| dice.text("0123456789", 1 + n % 9) + " ").collect()),
        ("letters", dice.text("abcdefghijklmnopqrstuvwxyz", 900)),
        ("capitals", dice.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 900)),
        ("letters and digits", dice.text("abcdefghijklmnopqrstuvwxyz0123456789", 900)),
        ("emoji", dice.range(0x1f600, 0x1f64f, 200)),
        ("more emoji", dice.range(0x1f300, 0x1f5ff, 200)),
        ("joined emoji", "👨‍👩‍👧‍👦👩‍❤️‍💋‍👨🧑🏽‍🚀👩🏿‍🔬🏳️‍🌈🤦🏾‍♀️🇩🇪🇫🇷".repeat(6)),
        ("stacked marks", "the quick brown fox".chars().map(|c| marks(&mut dice, c)).collect()),
        ("one mark", format!("e{}", "\u{301}".repeat(300))),
        ("ideographs", dice.range(0x4e00, 0x9fa5, 400)),
        ("rare ideographs", dice.range(0x20000, 0x2a6d6, 200)),
        ("syllables", dice.range(0xac00, 0xd7a3, 400)),
        ("braille", dice.range(0x2800, 0x28ff, 300)),
        ("bold letters", dice.range(0x1d400, 0x1d433, 300)),
        ("cuneiform", dice.range(0x12000, 0x12300, 100)),
        ("Ethiopic", dice.range(0x1200, 0x1248, 200)),
        ("vowelled Arabic", "\u{628}\u{650}\u{633}\u{652}\u{645}\u{650} ".repeat(40)),
        ("Devanagari", dice.range(0x905, 0x94d, 600)),
        ("Thai", dice.range(0xe01, 0xe3a, 600)),
        ("Cyrillic", dice.range(0x430, 0x44f, 600)),
        ("Greek", dice.range(0x3b1, 0x3c9, 600)),
        ("Hebrew", dice.range(0x5d0, 0x5ea, 600)),
        ("Arabic", dice.range(0x627, 0x64a, 600)),
        ("Bengali", dice.range(0x985, 0x9cd, 600)),
        ("Georgian", dice.range(0x10d0, 0x10f0, 600)),
        ("Armenian", dice.range(0x561, 0x586, 600)),
        ("Tamil", dice.range(0xb85, 0xbcd, 600)),
        ("punctuation", dice.range(0x21, 0x2f, 800)),
        ("printable", dice.range(0x21, 0x7e, 900)),
        ("JSON", (0..12).map(|n| row(&mut dice, n) + ",\n").collect()),
        ("URLs", (0..15).map(|_| url(&mut dice) + "\n").collect()),
        ("code", code.into()),
        ("minified code", minified.repeat(3)),
        (
            "CSV",
            (0..60)
                .map(|n| format!("{n},{},2026-01-{:02},x\n", dice.below(9_999), n % 28 + 1))
                .collect::<Vec<_>>()
                .concat(),
        ),
        ("spaces", " ".repeat(1_000)),
        ("tabs", "\t".repeat(500)),
        ("line ends", "\n".repeat(500)),
        ("carriage returns", "\r\n".repeat(400)),
        ("white space", dice.text(" \n\t\r", 800)),
        ("indented", (0..100).map(|_| " ".repeat(dice.below(40)) + "x\n").collect()),
        ("rules", "-".repeat(500)),
        ("one letter", "a".repeat(800)),
        ("control characters", dice.range(1, 31, 300)),
        ("private use", dice.range(0xe000, 0xe100, 200)),
    ]
}

#[test]
fn m5_counting_is_linear_and_never_fails() {
    for (what, text) in others() {
        let (once, thrice) = (count(&text), count(&text.repeat(3)));
        // The seams have pairs of letters of their own.
        assert!(thrice <= 3 * once + 8 && thrice >= once, "{what}: {once}, {thrice}");
    }
}

#[cfg(feature = "tiktoken")]
mod exact {
    use super::*;

    #[test]
    fn the_exact_counter_counts_as_the_model_does() {
        let counter = TiktokenCounter::new("cl100k_base").unwrap();
        assert_eq!(counter.count("tiktoken is great!"), 6); // OpenAI's cookbook
        assert!(TiktokenCounter::new("p50k").is_err());
    }

    #[test]
    fn m5_the_counts_of_prose_are_those_of_the_vocabulary() {
        let counter = TiktokenCounter::new("o200k_base").unwrap();
        for (language, tokens, text) in PROSE {
            assert_eq!(counter.count(text), tokens, "{language}");
        }
    }

    #[test]
    fn m5_prose_in_capitals_or_backwards_counts_for_no_less() {
        let counter = TiktokenCounter::new("o200k_base").unwrap();
        // Alphabets whose runs of letters are known.
        for (language, _, text) in PROSE
            .iter()
            .filter(|(language, ..)| ["ru", "uk", "el", "ar", "he", "hi", "th"].contains(language))
        {
            let backwards: String = text.chars().rev().collect();
            for text in [text.to_uppercase(), backwards] {
                let ratio = ratio(&text, counter.count(&text));
                assert!(ratio >= 0.9, "{language}: {ratio:.2} of {text}");
            }
        }
    }

    #[test]
    fn m5_no_text_counts_for_less_than_nine_tenths() {
        let counter = TiktokenCounter::new("o200k_base").unwrap();
        for (what, text) in others() {
            let ratio = ratio(&text, counter.count(&text));
            assert!(ratio >= 0.9, "{what}: {ratio:.2}");
        }
    }
}
