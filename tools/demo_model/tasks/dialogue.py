"""Short dialogue: about the model itself, about Millrace and its commands, and politeness."""

from ..item import Item, system, user
from ..words import Phrases, Words, expand

TALK: list[tuple[str, Phrases]] = [
    (
        "I am the Millrace demo model, a very small language model that ships with Millrace.",
        Phrases(
            [
                "Who are you?",
                "What are you?",
                "[Tell me|Say something] about yourself.",
                "[What is|Do you have] your name?",
                "Are you a [person|human|robot]?",
                "Introduce yourself[|, please].",
                "[May I ask|Can I know|I want to know|Say] [who|what] you are[?|.]",
                "[Whom|What] am I [talking|speaking|writing] to?",
                "[Are|So are] you [the|a|some] [demo model|language model|assistant|program|machine]?",
                "[What is this|What kind of model is this|Which program is this|Is this a model]?",
                "[With whom|To whom|Who is it] [do I speak|am I chatting|I speak to|answering]?",
                "[Which|What] [one|program|assistant|bot|AI|machine] [are you|is this|answers me|do I have here]?",
                "[Your name|Name yourself|Say your name|Present yourself|State your name][|, please][.|?]",
            ],
            ["Which model are you?", "Who is talking to me?", "Please say who you are."],
        ),
    ),
    (
        "I can extract data as JSON, call functions, edit small files, copy and convert tables, add small numbers and talk about Millrace.",
        Phrases(
            [
                "What can you do?",
                "[How|With what] can you help me?",
                "What are you [good at|able to do|for]?",
                "[List|Name] your [skills|abilities|tasks].",
                "Help!",
                "[What|Which things] [can I ask you|should I ask|do you know|do you understand]?",
                "[Show|Tell] me [what you can do|your talents|how you work|what you know].",
                "[What|Which] [jobs|work|things|skills] [can you do|do you have|are yours]?",
                "[I need|Do you offer] help[.|?]",
                "[Can|Could|Will|Would] you [help|assist|support|serve] [me|us|people][| today| here| a bit| at all]?",
                "[Are you|Would you be] [able|ready|willing] to [help|assist|do things|work][| me| for me]?",
                "[For what|Why|In which way] [may I use you|were you built|are you useful|do you exist]?",
                "[Your|The] [skills|abilities|tasks|purpose|job][?|, please.|.]",
            ],
            ["What are you made to do?", "Which tasks can you do?", "Can you help me with something?"],
        ),
    ),
    (
        "I have about nine million parameters, so I know very little. I was trained on generated text only.",
        Phrases(
            [
                "How [big|large|small] are you?",
                "How many parameters do you have?",
                "[How|On what] were you trained?",
                "What [data|text] were you trained on?",
                "[Why do you know so little|Are you clever]?",
                "[What is|Tell me] your [size|parameter count|number of parameters][?|.]",
                "[Where|How] did you [learn|study|get your knowledge]?",
                "[Which|What kind of] [text|data|books] did you [learn from|read|see]?",
                "[Are|Say if] you are [big|small|large|clever].",
                "[How many|Number of] [weights|parameters][?|, please.]",
                "[Say|Reveal|Show] [your size|how big you are|your parameters|what you were trained on][.|]",
                "[From what|Out of what|With which text] [were you made|do you come|did they train you|were you built]?",
            ],
            ["Tell me how large you are.", "What was your training data?"],
        ),
    ),
    (
        "Millrace turns a Hugging Face checkpoint and a config.yaml into an engine and serves it through the OpenAI API.",
        Phrases(
            [
                "What is Millrace?",
                "[Tell me about|Explain|Describe] Millrace.",
                "What does Millrace do?",
                "What is Millrace [good |]for?",
                "[Do you know|Ever heard of] Millrace?",
                "[So what|And what|Now what|What exactly] is Millrace?",
                "[I am new to|I never heard of|I found|I want to learn about] Millrace[.|. What is it?|: what is it?]",
                "[Give me|I need] [a summary|a short description|the idea] of Millrace.",
                "[Why|When] would I use Millrace?",
                "Millrace?",
                "[Can|Could|Would|Please] you [tell me about|describe|introduce|summarise] Millrace[?|.]",
                "[Please explain|Sum up|Introduce|Present|Teach me] [Millrace|what Millrace does|the idea of Millrace][.|]",
                "[In a word|In two words|In brief|Briefly|As a headline|For beginners][,|:] [explain Millrace|Millrace|what does Millrace do|what Millrace is][.|?]",
            ],
            ["Can you explain what Millrace is?", "In one sentence, what is Millrace?"],
        ),
    ),
    (
        "An engine is a directory that holds everything a server needs: weights, tokenizer and settings, checked at build time.",
        Phrases(
            [
                "What is an engine?",
                "What does an engine [hold|contain]?",
                "[Explain|Describe] the engine[| of Millrace].",
                "What is in an engine directory?",
                "[So what|And what|What exactly] is an engine?",
                "[What|Which] files [are in|belong to|make] an engine?",
                "[I do not understand|Define|The meaning of|Tell me about] [the word |]engine[.|s.]",
                "Engine?",
                "[What|Which things] does millrace [write|put into the directory|make]?",
                "[Say|Please tell me|Teach me|I ask] [what engines are|what an engine means|about engines|what the word engine means][.|]",
                "[What|Which thing] is [called|named|meant by] [an engine|engine][| here| in Millrace]?",
                "[Is an engine|Would you call an engine] [a file|a directory|a program|a model]?",
            ],
            ["What do you call an engine?", "Tell me what an engine is."],
        ),
    ),
    (
        "The commands are build, serve, inspect, plan and validate.",
        Phrases(
            [
                "[Which|What] commands does Millrace have?",
                "[List|Name] the [commands|subcommands][| of Millrace].",
                "What are Millrace's commands?",
                "Which subcommands are there?",
                "[Commands|Subcommands|Usage][?|, please.]",
                "[What|Which command] [can I run|may I use|is there] [with|in|for] millrace?",
                "[Show|Give|I need] [me |][all |]the [commands|subcommands|usage][| of Millrace].",
                "[How|In what ways] do I use [the program|millrace|the command line]?",
                "[What|Which words] [follow|can follow|come after] millrace [on the command line|in the shell]?",
                "[Name|Say|Print|Enumerate] [everything millrace can run|all subcommands|its commands][.|]",
            ],
            ["Tell me the commands of Millrace.", "What can I type after millrace?"],
        ),
    ),
    (
        "Run millrace build --config config.yaml --output engine.",
        Phrases(
            [
                "How do I [build|make|create] an engine?",
                "[What does|How does] millrace build [do|work]?",
                "[Show|Give] me the build command.",
                "How do I turn a [checkpoint|model] into an engine?",
                "Which command builds an engine?",
                "[I want|I need|We have] to [build|make|create|compile] [an engine|my model][.|: how?]",
                "[Building|Making|Creating] an engine[?|: how?]",
                "[What|Which] [is the command|command do I use|do I type] [to|for] build[ing|] [an engine|a model]?",
                "[Explain|Describe] build.",
                "[From|Out of] [a checkpoint|my weights|a model] [to|into] an engine[?|: how?|, please.]",
                "[There is|We have|Here is] [a checkpoint|a Hugging Face model|a config.yaml][.|;] [Now what|How do I make an engine|What next|How do I go on]?",
                "[What should I|What must I|How do I] [run|type|call|enter] [for an engine|to make the engine|to compile the model]?",
            ],
            ["I have a checkpoint. How do I get an engine?", "What do I run to build?"],
        ),
    ),
    (
        "Run millrace serve engine --port 8000. It answers the OpenAI API.",
        Phrases(
            [
                "How do I [serve|start|run] [an engine|the server|a model]?",
                "[What does|How does] millrace serve [do|work]?",
                "[Show|Give] me the serve command.",
                "Which command starts the server?",
                "[I want|I need|We have] to [serve|start|run] [an engine|my engine|the server][.|: how?]",
                "[Serving|Starting|Running] [an engine|the server][?|: how?]",
                "[What|Which] [is the command|command do I use|do I type] [to|for] serv[e|ing]?",
                "[Explain|Describe] serve.",
                "[How|Where] do I [open the API|get an API|get answers from an engine]?",
                "[My|The] engine is [ready|built|there|made][.|;] [Now what|How do I start it|How do I use it|What next]?",
                "[How|With which command] [does one|can we|do people|do we] [serve|start the server|go live|start it]?",
            ],
            ["I have an engine. How do I serve it?", "How can I start serving?"],
        ),
    ),
    (
        "millrace inspect shows what an engine holds.",
        Phrases(
            [
                "What does millrace inspect do?",
                "How do I [look into|see what is in] an engine?",
                "What is inspect [for|good for]?",
                "[Explain|Describe] inspect.",
                "[When|Why] [do|should|must] I [use|run|call] inspect?",
                "[I want|I need|We want] to [look into an engine|see what an engine holds][.|: how?]",
                "[How|With what] [do|can] I [look into an engine|see what an engine holds]?",
                "[The command|Command|And|Tell me about] inspect[?|.]",
                "[Which|What] command [lists|prints|tells me|reveals|looks at] [what is in an engine|the contents of an engine|an engine's files|what an engine holds]?",
                "[Show|Print|List|See] [the contents of an engine|an engine's contents|what my engine holds][: how?|, but how?|: which command?]",
            ],
            ["Which command shows an engine's contents?", "Why would I use inspect?"],
        ),
    ),
    (
        "millrace plan says what a model will need, without building it.",
        Phrases(
            [
                "What does millrace plan do?",
                "How [much memory|many resources] will my model need?",
                "What is plan [for|good for]?",
                "[Explain|Describe] plan.",
                "[When|Why] [do|should|must] I [use|run|call] plan?",
                "[I want|I need|We want] to [know the memory of a model|see what a model needs][.|: how?]",
                "[How|With what] [do|can] I [know the memory of a model|see what a model needs]?",
                "[The command|Command|And|Tell me about] plan[?|.]",
                "[Which|What] command [estimates|computes|shows|says|predicts] [the memory|what a model needs|memory needs|the size of things]?",
            ],
            ["Which command tells the memory a model needs?", "Why would I use plan?"],
        ),
    ),
    (
        "millrace validate says what is wrong with a config.yaml.",
        Phrases(
            [
                "What does millrace validate do?",
                "How do I check [my|a] config[|.yaml]?",
                "What is validate [for|good for]?",
                "[Explain|Describe] validate.",
                "Is my config [right|valid]?",
                "[When|Why] [do|should|must] I [use|run|call] validate?",
                "[I want|I need|We want] to [check a config|find errors in my config.yaml][.|: how?]",
                "[How|With what] [do|can] I [check a config|find errors in my config.yaml]?",
                "[The command|Command|And|Tell me about] validate[?|.]",
                "[Which|What] command [tests|verifies|proves|looks at|finds errors in] [a config|my config|config.yaml|the configuration]?",
            ],
            ["Which command checks the config?", "Why would I use validate?"],
        ),
    ),
    (
        "No. Millrace is one C++20 program; no Python runs when it builds or serves.",
        Phrases(
            [
                "Does Millrace need Python?",
                "[Is|Was] Millrace [written in|made with] Python?",
                "Do I [need|have] to install Python[| for Millrace]?",
                "[And|What about|How about] Python?",
                "[Can|Does] Millrace [run|work|build|serve] [with|without] Python?",
                "[Which|What] language is Millrace [written|made] in?",
                "[I have no|I do not like|Must I have] Python[.|?]",
                "[Is|Would] [Python|a Python interpreter|pip] [needed|used|required|necessary|involved|run][| here| at all| by Millrace]?",
                "[Could|Can|Would] I [go|work|live|serve] without Python?",
            ],
            ["Is there any Python in Millrace?", "Can I not do without Python?"],
        ),
    ),
    (
        "Millrace is licensed under Apache-2.0.",
        Phrases(
            [
                "[What is|Which is] the licence[| of Millrace]?",
                "Under which licence is Millrace?",
                "Is Millrace [free|open source]?",
                "[And|What about|How about] the licence?",
                "[May|Can] I [use|copy|change|sell] Millrace?",
                "Licence[?|, please.]",
                "[Who|What] [owns|allows me to use] Millrace?",
                "[Is|Was] Millrace licensed[| for business| to all| at all| freely]?",
                "[Under what|By what|On which] [terms|licence|license|conditions] [is it|is Millrace] [licensed|given|shared|published]?",
                "[Name|Say|Show|Print|Give me] [the|your|its] [licence|license|terms of use][.|, please.|]",
            ],
            ["Tell me the licence of Millrace.", "How is Millrace licensed?"],
        ),
    ),
    (
        "You are welcome.",
        Phrases(
            [
                "[Thanks|Thank you|Many thanks][|!|.| so much.]",
                "[Great|Perfect|Nice], [thanks|thank you].",
                "[That was|This is|You are] [good|great|very helpful|nice|kind][.|!]",
                "[I thank you|Thanks a lot|Cheers|Well done|Very good|Excellent][.|!|, thanks.]",
                "That [helped|was it].",
                "[Good|Nice|Great|Fine|Perfect] [job|answer|result|help][.|!|, thank you.|, thanks.]",
            ],
            ["Thank you very much.", "Good work, thanks!"],
        ),
    ),
    (
        "Hello! How can I help?",
        Phrases(
            [
                "[Hello|Hi|Hey|Good morning|Good evening][|!|.]",
                "[Hello|Hi] there[|!|.]",
                "How are you?",
                "[Greetings|Good afternoon|Welcome|Hey you|Dear model][.|!|]",
                "[I am back|Are you there|Nice to meet you][.|?|!]",
            ],
            ["Good day!", "Hello you."],
        ),
    ),
    (
        "Goodbye!",
        Phrases(
            [
                "[Bye|Goodbye|See you|Good night][|!|.]",
                "That is all[|, bye].",
                "I am done[|, bye].",
                "[I must go|I leave now|Time to go|Until tomorrow|Have a nice day|We are finished][.|!|]",
            ],
            ["Bye for now.", "See you later."],
        ),
    ),
    (
        "I do not know that. I am a very small model.",
        Phrases(
            [
                "Who [wrote|invented|painted] {thing}?",
                "[What is|Where is] the capital of {land}?",
                "[Why|When] [is|was] {place} [built|so big|famous]?",
                "Who is {person}?",
                "[What do you think of|Tell me about|Explain] {thing}[.|]",
                "Write a [poem|song|story] about {place}.",
                "How [old|tall] is {person}?",
                "[What is|What was|Describe] {thing}[?|.]",
                "[Where|When|Why|How] [does|did|is|was] {person} [live|work|sing|famous|go]?",
                "[Who|What] [made|found|knows|likes] {thing}?",
                "[Is|Was] {place} [old|big|far|nice|in {land}]?",
                "[How many|What] people live in {place}?",
                "[Have you seen|Do you like|Did you visit|Do you know] [{place}|{person}|{thing}]?",
                "[Tell me|Give me] [a joke|the news|a story] [about|from|of] [{place}|{thing}].",
                "[What|Which things|How much] [happens|will happen|went wrong|goes on|was lost] [in|at|near] [{place}|{land}]?",
                "[In which year|On which day|In what city] [was|is|did] [{person}|{thing}] [born|made|found|die|win]?",
                "[Have|Did|Do] you [heard|know|seen|liked|try|read about] [{thing}|{person}|{place}]?",
            ],
            ["What happened in {place}?", "When was {person} born?", "Have you read {thing}?"],
        ),
    ),
]
SYSTEMS = Phrases(
    [
        "You are a helpful assistant.",
        "You are the Millrace demo model.",
        "Answer briefly.",
        "Be polite.",
        "Answer in one sentence.",
    ],
    ["You are a small and friendly model.", "Keep it short."],
)


LEADS = (
    "[In short|Briefly|Simply put|Once more|Honestly|As a start|By the way|To begin with|In a few words|In one line], ",
    "[Quick question|One question|A question|I wonder|Tell me|Please say|Just say|I ask you|Before we start][:|,] ",
    "[Hello|Hi|Hey|Good evening|Okay|Well|So|Now][.|,|!|:] ",
)


def question(w: Words, questions: Phrases) -> str:
    """A question, in training now and then behind a few words."""
    text = w.pick(questions)
    if w.held_out or w.chance(0.75) or text[:1] == "{":
        return text
    return expand(w.rng, w.rng.choice(LEADS)) + text[:1].lower() + text[1:]


def make(w: Words) -> Item:
    answer, questions = w.rng.choice(TALK)
    thing, land = w.coin().capitalize(), w.name(["ia", "land"])
    text = question(w, questions).format(thing=thing, land=land, place=w.place(), person=w.person())
    messages = [system(w.pick(SYSTEMS))] if w.chance(0.3) else []
    return Item("dialogue", messages + [user(text)], answer)
