"""The functions that tool-calling exercises offer: names, parameters, requests that need them, replies they give.

Every function and parameter has several names, so that a call must be read off the definition that is offered.
"""

from ..words import Phrases, Words
from .catalogue_daily import DAILY
from .tool import CITY, PERSON, PRODUCT, Tool, choice, done, integer, message, string

CATALOGUE: list[Tool] = [
    *DAILY,
    Tool(
        ["get_stock", "stock_level", "inventory", "check_stock"],
        ["How many pieces of a product are in stock", "Looks into the warehouse"],
        {"product": PRODUCT},
        Phrases(
            [
                "How many [pieces of the|of the] {product} [are in stock|do we have|are left]?",
                "[Check|Look up] the stock of the {product}.",
                "[Is|Do we have] the {product} [in stock|available|still]?",
                "Stock of {product}[|, please]?",
                "[Can|Could|Would] you [check|count|look up|see] [the stock of |how many |the amount of ][the |]{product}?",
                "[How many|What number of|How much] {product} [can we sell|is there|are there|remain]?",
                "[Do you have|Have we|Is there|Are there] [any|some|enough|more] {product}[| left| in stock]?",
                "[I want|She wants|A customer wants] [the |a |]{product}; [do we have it|is it in stock|is it there|how many are left]?",
                "[Count|Find|Show|Tell me] [the stock of|the amount of|what is left of] [the |]{product}.",
                "{product}: [in stock|how many|still there|left]?",
            ],
            ["Are there any {product} left in the warehouse?", "See if the {product} is in stock."],
        ),
        lambda w: {"pieces": w.rng.randint(0, 400)},
        "There are {pieces} pieces of the {product}.",
    ),
    Tool(
        ["find_route", "route", "directions", "navigate"],
        ["Finds a route between two places", "Plans a trip"],
        {
            "start": string("start origin from", "Where it begins", Words.place),
            "goal": string("goal destination to", "Where it ends", Words.place),
            "mode": choice("mode by vehicle", "How to travel", "car", "train", "bike", "bus"),
        },
        Phrases(
            [
                "[How do I get|Show me the way|Find a route] from {start} to {goal}[?|.]",
                "[I want to go|I travel|Take me] from {start} to {goal} by {mode}.",
                "[Route|Directions|Way] from {start} to {goal}[| by {mode}].",
                "By {mode} from {start} to {goal}[|, please].",
                "[Can|Could|Would] you [find|show|plan|give me] [the|a] [way|route|trip] from {start} to {goal}[ by {mode}|]?",
                "[How far|How long|What time|Which way] [is it |]from {start} to {goal}[ by {mode}|]?",
                "[Plan|Find|Show|Get|Compute] [a|the|my] [trip|way|journey|route] from {start} to {goal}[ by {mode}|].",
                "[My trip|Our journey|The ride|The tour] [starts|begins] in {start} and [ends|stops] in {goal}[; I go by {mode}|].",
                "{start} to {goal}[, {mode}|][, please.|?|.]",
                "[I am|We are|She is] in {start} and [want|need|have] to [get|go|be|travel] to {goal}[ by {mode}|].",
            ],
            ["What is the best way to {goal} from {start}?", "I am in {start} and must reach {goal} by {mode}."],
        ),
        lambda w: {"minutes": w.rng.randint(5, 500)},
        "From {start} to {goal} it takes {minutes} minutes.",
    ),
    Tool(
        ["play_music", "music", "play_song", "player"],
        ["Plays music", "Plays songs of an artist"],
        {
            "artist": string(
                "artist band musician", "Who plays", lambda w: f"The {w.name()}s" if w.chance(0.5) else w.person()
            )
        },
        Phrases(
            [
                "[Play|Put on] [something by|music by|songs of] {artist}.",
                "I [want|would like] to hear {artist}.",
                "[Some music by|A song of] {artist}[|, please].",
                "[Can|Could|Would] you [play|put on|start] [a song |music |something |][by |of |]{artist}?",
                "[Start|Stream|Turn on|Find|Queue] [songs|music|something|an album] [by|of|from] {artist}.",
                "{artist}[|, please|, loud|, now][.|!]",
                "[I love|I like|We like|We want|I miss] {artist}[.|; play it.|. Put it on.]",
                "[My favourite|The best] [band|artist|singer] is {artist}. [Play it|Play a song|Music, please].",
                "[How about|What about|Let me have|Give us] [some |a bit of |]{artist}[?|.]",
            ],
            ["Let us listen to {artist}.", "I am in the mood for {artist}."],
        ),
        done,
        "Playing {artist}.",
    ),
    Tool(
        ["create_note", "save_note", "note", "remember"],
        ["Saves a note", "Writes something down"],
        {"text": string("text note content body", "What to write", message)},
        Phrases(
            [
                '[Note|Write down|Take a note]: "{text}"',
                '[Save|Keep|Make] a note that says "{text}"',
                '[Please remember|Remember] this: "{text}"',
                '[Memo|Reminder|New note|For my notes]: "{text}"',
                '[Can|Could|Would] you [note|write down|save|keep|remember] "{text}"?',
                '[Store|Add|Record|Jot down] "{text}"[ as a note| for later|].',
                '"{text}": [note it|write it down|save this|keep that|make a note].',
                '[I want|I need|I would like] [to note|to keep|a note of|to write down] "{text}".',
                '[Do not let me forget|Keep in mind|It is important to keep]: "{text}"',
            ],
            ['Put "{text}" in my notes.', 'I must not forget "{text}"; write it down.'],
        ),
        done,
        "The note is saved.",
    ),
    Tool(
        ["get_price", "price_of", "price_lookup", "product_price"],
        ["Price of a product", "Looks up what a product costs"],
        {"product": PRODUCT},
        Phrases(
            [
                "[What does|How much does] the {product} cost?",
                "[What is|Tell me|Find] the price of the {product}[?|.]",
                "How much is the {product}?",
                "Price of {product}?",
                "[Can|Could|Would] you [tell me|look up|find|check] [the price of|what I pay for|how much is] [the |a |]{product}?",
                "[Price|Cost|Value] of [the |a |one |]{product}[|, please][.|?]",
                "[What|How much] [is|costs|do you want for|do they ask for] [the |a |one |]{product}?",
                "[I want to buy|She needs|We look for|Someone asked for] [the |a |]{product}. [How much is it|What does it cost|What is the price|Price]?",
                "[Is|Are] [the |a |]{product} [expensive|cheap|under 100|costly]?",
                "{product}: [how much|what price|cost|price]?",
            ],
            ["What must I pay for the {product}?", "I would like to know the price of a {product}."],
        ),
        lambda w: {"price": w.price()},
        "The {product} costs {price}.",
    ),
    Tool(
        ["add_user", "create_user", "new_account", "register_user"],
        ["Creates an account", "Adds a user to the system"],
        {
            "person": PERSON,
            "email": string("email mail address", "Email address", Words.email),
            "role": choice("role level group", "Rights", "admin", "editor", "viewer"),
        },
        Phrases(
            [
                "[Create|Add|Make] an account for {person} with the [mail|email] {email}.",
                "[Add|Register] {person} ({email}) as {role}.",
                "{person} needs [an account|access] as {role}, [mail|email] {email}.",
                "New user: {person}, {email}, {role}.",
                "[Can|Could|Would] you [add|create|register|make] [a user|an account|a login] for {person}[,|:] {email}[, {role}|]?",
                "[User|Account|Login|Register]: {person}, {email}[, {role}|].",
                "[We have|There is|Here is] a new [colleague|member|user|person]: {person}, {email}[. Make it {role}.|. Role: {role}.|.]",
                "[Give|Grant|Allow] {person} ({email}) [access|an account|a login][ as {role}|].",
                "[Let|Have] {person} [log in|in|use the system] [with|under|using] {email}[ as {role}|].",
                "{email} [belongs to|is the mail of|is] {person}; [create|add|open] [the|an] account[ as {role}|].",
            ],
            [
                "Please set up {person} as a new user, email {email}.",
                "{person} ({email}) joins us; give an account as {role}.",
            ],
        ),
        done,
        "{person} has an account now.",
    ),
    Tool(
        ["run_query", "sql", "database_query", "query"],
        ["Counts the rows of a table", "Asks the database"],
        {
            "table": string("table relation source", "Name of the table", Words.identifier),
            "limit": integer("limit max_rows top", "At most so many rows", 1, 500),
        },
        Phrases(
            [
                "[Show|Get|List] {limit} rows of [|the table ]{table}.",
                "[Read|Query] the table {table}, [at most|limit] {limit}.",
                "The first {limit} rows of {table}[|, please].",
                "[Query|Show] the table {table}.",
                "[Can|Could|Would] you [show|list|read|get] [the first |]{limit} rows [of|from|in] {table}?",
                "[Select|Fetch|Print|Read|Load|Dump] {limit} [rows|lines|records|entries] [of|from|in|out of] {table}.",
                "[How many|What|Which] rows [are|stand|do we have] in [the table |]{table}?",
                "[Look into|Open|Search|Ask|Count] [the table|the database table] {table}[, limit {limit}|].",
                "{table}: [first|top|give me|show] {limit} rows.",
                "[Database|Table|Query|SQL]: {table}[, {limit} rows|].",
            ],
            ["I want to see {limit} rows from {table}.", "What is in the table {table}?"],
        ),
        lambda w: {"rows": w.rng.randint(0, 500)},
        "The table {table} gave {rows} rows.",
    ),
    Tool(
        ["set_temperature", "thermostat", "heating", "set_heating"],
        ["Sets the heating", "Sets the temperature of the house"],
        {"degrees": integer("degrees temperature value", "Degrees Celsius", 10, 30)},
        Phrases(
            [
                "[Set|Put|Turn] the [heating|temperature|thermostat] to {degrees}[| degrees].",
                "[Make it|I want it] {degrees} degrees [in here|warm].",
                "[Heat|Warm] the house to {degrees} degrees.",
                "[Can|Could|Would] you [set|put|turn|bring] the [heating|temperature|house|thermostat] to {degrees}?",
                "[I am|We are|It is] [too |so |]cold[,|;|:] [make it|go to|heat to|set] {degrees}[| degrees].",
                "[I am|We are|It is] [too |so |]hot[,|;|:] [make it|go down to|cool to|set] {degrees}[| degrees].",
                "{degrees} degrees[|, please|, now| in the house| for tonight][.|!]",
                "[Heating|Thermostat|Temperature][:| to| at] {degrees}[|.| degrees.]",
                "[Tonight|Today|From now on|For the guests] [we want|I want|we need|let us have] {degrees} degrees.",
            ],
            ["The house should have {degrees} degrees.", "{degrees} degrees would be nice at home; set it."],
        ),
        done,
        "The heating is set to {degrees} degrees.",
    ),
    Tool(
        ["book_room", "reserve_room", "hotel_booking", "find_hotel"],
        ["Books a hotel room", "Finds a hotel"],
        {
            "city": CITY,
            "nights": integer("nights days stay", "How many nights", 1, 14),
            "date": string("arrival date check_in", "First day", Words.date),
        },
        Phrases(
            [
                "[Book|Find|Reserve] a hotel in {city} for {nights} nights[| from {date}].",
                "[I need|Get me] a room in {city} from {date} for {nights} nights.",
                "{nights} nights in {city}, arriving {date}[|, please].",
                "[Hotel|Room] in {city}, {nights} nights, {date}.",
                "[Can|Could|Would] you [book|find|get|reserve] [me |us |]a [hotel|room|bed] in {city}[ for {nights} nights|][ from {date}|]?",
                "[I am|We are|She is] [in|visiting|travelling to] {city} for {nights} nights[ from {date}|][.|; find a room.|; where can I sleep?]",
                "[Where can I|I need to|We want to] [sleep|stay] in {city}[?|,] {nights} nights[, from {date}|].",
                "[A hotel|A room|A bed|Accommodation] [in|near] {city}[, please|]: {nights} nights[, arriving {date}|].",
                "{city}, {nights} nights[, {date}|][: a hotel, please|: book it|: find a room].",
                "[My holiday|Our trip|The journey] [goes to|is to|ends in] {city}, {nights} nights[ from {date}|]. [Book a room|Find a hotel].",
            ],
            [
                "I stay in {city} for {nights} nights; book a hotel.",
                "From {date} I need a bed in {city}, {nights} nights.",
            ],
        ),
        lambda w: {"hotel": w.company()},
        "Your room in {city} is booked at {hotel}.",
    ),
    Tool(
        ["get_time", "current_time", "clock", "local_time"],
        ["Local time of a city", "What time it is somewhere"],
        {"city": CITY},
        Phrases(
            [
                "What time is it in {city}?",
                "[Tell me|I need] the [time|local time] in {city}.",
                "[Is it|Is it already] [night|morning|late] in {city}?",
                "Time in {city}?",
                "[Can|Could|Would] you [tell me|look up|say] [the time|what time it is|how late it is] in {city}?",
                "[What does the clock say|What is the time|What hour is it] in {city}?",
                "[Clock|Hour|Time of day|Current time|Time now] [in|of|for|at] {city}[|, please][.|?]",
                "[Is it|Are they] [already |still |][asleep |noon |dark |evening |early |day ]in {city}[ now|]?",
                "[I want to|May I|Can I] call [someone in |a friend in |my aunt in |]{city}[.|; what time is it there?|; is it late there?]",
                "[Get|Fetch|Show|Check|Find] the [time|hour|clock] [of|in|at] {city}.",
            ],
            ["How late is it in {city} now?", "Give me the clock time of {city}."],
        ),
        lambda w: {"time": w.time()},
        "In {city} it is {time}.",
    ),
]
